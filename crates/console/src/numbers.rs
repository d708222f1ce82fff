//! Numbers for people.

/// Digits of a score that a person reads.
const DIGITS: usize = 4;

/// A number with as many digits as say something.
#[must_use]
pub fn digits(value: f64) -> String {
    // A zero has the digits of a one.
    let size = if value == 0.0 { 1.0 } else { value.abs().max(1e-12) };
    let before = size.log10().floor() as i32 + 1;
    format!("{value:.*}", usize::try_from(DIGITS as i32 - before).unwrap_or(0).min(8))
}

/// Bytes as MiB.
#[must_use]
pub fn mebibytes(len_bytes: u64) -> String {
    format!("{:.0} MiB", len_bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let shown = [0.0, 1.0, 0.012_345_6, 734.26, -0.000_02, 12_345.6].map(digits);
        assert_eq!(shown, ["0.000", "1.000", "0.01235", "734.3", "-0.00002000", "12346"]);
        assert_eq!(mebibytes(310 << 20), "310 MiB");
    }
}
