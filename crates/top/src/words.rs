//! Numbers for people.

/// With four digits.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() || !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    // Digits after the point, so that four are left.
    let after = (3 - size.log10().floor() as i32).max(0) as usize;
    format!("{value:.after$}")
}

/// A share as percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Seconds as the two units that matter: `2 h 5 min`.
pub(crate) fn duration(seconds: f64) -> String {
    // What is below 0 or no number counts as 0.
    let mut left = seconds.round() as u64;
    let mut words = Vec::new();
    for (length, name) in [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")] {
        if left >= length {
            words.push(format!("{} {name}", left / length));
        }
        left %= length;
    }
    words.truncate(2);
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

/// Microseconds as milliseconds, without their unit.
pub(crate) fn ms(us: u64) -> String {
    short(us as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let shown = [0.0, 0.5, -1.25, 12.3456, 1923.4, 123_456.0, 2.5e6, 1.234e-5].map(short);
        assert_eq!(shown, ["0", "0.5000", "-1.250", "12.35", "1923", "123456", "2.50e6", "1.23e-5"]);
        assert_eq!(short(f64::INFINITY), "inf");
        assert_eq!(percent(0.9871), "98.7 %");
        assert_eq!(
            [0.2, 59.6, 7500.0, 90_000.0, -1.0].map(duration),
            ["0 s", "1 min", "2 h 5 min", "1 d 1 h", "0 s"]
        );
        assert_eq!(ms(1500), "1.500");
    }
}
