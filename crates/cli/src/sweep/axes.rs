//! Which values a sweep goes through, as the command line says it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The most seeds; more are probably a slip.
const SEEDS_MAX: u64 = 1000;
/// Fields that a sweep sets itself, and by which option a user does it.
const OWN: [(&str, &str); 3] =
    [("run", "--out DIR"), ("checkpoint.to", "--out DIR"), ("seed", "--seeds 1..5")];

/// A field and the values that it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Its path, as `optimizer.generator.adam.learning_rate`.
    pub path: String,
    /// As YAML, at least one.
    pub values: Vec<String>,
}

/// The seeds that every combination is run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// Why an argument is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAxis {
    /// No value.
    #[error("there is no `=` in it. Write for example --set model.generator.dcgan.width=16,32")]
    NoValue,
    /// A field that a sweep sets itself.
    #[error("a sweep sets {path} for each run. Use {instead} instead")]
    Own {
        /// The field.
        path: String,
        /// The option.
        instead: &'static str,
    },
    /// A bracket, brace or quote without its other end.
    #[error("`{0}` does not close all of its quotes, brackets and braces")]
    Open(String),
    /// The same value twice.
    #[error("{0} stands in it twice")]
    Twice(String),
    /// No seeds.
    #[error("seeds are a range as 1..5, which is five of them, or numbers with commas, at most {SEEDS_MAX}")]
    Seeds,
}

impl FromStr for Axis {
    type Err = BadAxis;

    fn from_str(text: &str) -> Result<Self, BadAxis> {
        let (path, values) = text.split_once('=').ok_or(BadAxis::NoValue)?;
        let path = path.trim().to_owned();
        if let Some((_, instead)) = OWN.into_iter().find(|(own, _)| *own == path) {
            return Err(BadAxis::Own { path, instead });
        }
        let values = pieces(values).ok_or_else(|| BadAxis::Open(values.to_owned()))?;
        let mut seen = BTreeSet::new();
        match values.iter().find(|value| !seen.insert(*value)) {
            Some(value) => Err(BadAxis::Twice(value.clone())),
            None => Ok(Self { path, values }),
        }
    }
}

/// The parts between commas that stand in no quotes, brackets or braces; none where one of these does not close.
fn pieces(text: &str) -> Option<Vec<String>> {
    let (mut parts, mut depth, mut quote) = (vec![String::new()], 0_u32, None);
    for sign in text.chars() {
        match (quote, sign) {
            (Some(open), _) if open == sign => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(sign),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            (None, _) => {}
        }
        parts.last_mut().expect("there is at least one").push(sign);
    }
    let whole = depth == 0 && quote.is_none();
    whole.then(|| parts.into_iter().map(|part| part.trim().to_owned()).collect())
}

impl FromStr for Seeds {
    type Err = BadAxis;

    fn from_str(text: &str) -> Result<Self, BadAxis> {
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| BadAxis::Seeds);
        let seeds: Vec<u64> = match text.split_once("..") {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
                if last < first || last - first >= SEEDS_MAX {
                    return Err(BadAxis::Seeds);
                }
                (first..=last).collect()
            }
            None => text.split(',').map(number).collect::<Result<_, _>>()?,
        };
        let mut seen = BTreeSet::new();
        if let Some(seed) = seeds.iter().find(|seed| !seen.insert(**seed)) {
            return Err(BadAxis::Twice(seed.to_string()));
        }
        Ok(Self(seeds))
    }
}

impl Axis {
    /// The last part of its path, which is its name in tables.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path, self.values.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_at_commas_outside_of_quotes_and_braces() {
        let values = |text: &str| text.parse::<Axis>().map(|axis| axis.values);
        assert_eq!(values("a.b=1e-4, 2e-4").unwrap(), ["1e-4", "2e-4"]);
        let objectives = "objective={least_squares: {a: 0, b: 1, c: 1}},non_saturating";
        assert_eq!(values(objectives).unwrap(), ["{least_squares: {a: 0, b: 1, c: 1}}", "non_saturating"]);
        assert_eq!(values("evaluate.metrics='kid,recall',\"fid\"").unwrap(), ["'kid,recall'", "\"fid\""]);
        assert_eq!(
            "a=b=c".parse::<Axis>().unwrap(),
            Axis { path: "a".to_owned(), values: vec!["b=c".to_owned()] }
        );
        assert_eq!(values("a.b"), Err(BadAxis::NoValue));
        assert_eq!(values("a={b: 1"), Err(BadAxis::Open("{b: 1".to_owned())));
        assert_eq!(values("a=b}"), Err(BadAxis::Open("b}".to_owned())));
        assert_eq!(values("a=1,2,1"), Err(BadAxis::Twice("1".to_owned())));
        assert!(values("seed=1,2").unwrap_err().to_string().contains("--seeds 1..5"));
    }

    #[test]
    fn seeds_are_a_range_with_both_ends_or_a_list() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(seeds("1..5").unwrap(), [1, 2, 3, 4, 5]);
        assert_eq!(seeds("3").unwrap(), [3]);
        assert_eq!(seeds("7, 1").unwrap(), [7, 1]);
        for wrong in ["", "5..1", "a", "1..", "1..9999", "-1"] {
            assert_eq!(seeds(wrong), Err(BadAxis::Seeds), "{wrong}");
        }
        assert_eq!(seeds("1,1"), Err(BadAxis::Twice("1".to_owned())));
    }
}
