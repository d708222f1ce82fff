//! Hostile inputs for the tests of parsers: valid examples, mutated, and the memory and the time that each takes.
//!
//! A target is a `#[test]` beside its parser whose name begins with `fuzz_`, so that it reaches what is private. It runs for at
//! most a second in `make test`, and with as many inputs as one likes by `make fuzz INPUTS=10000000`. It fails for a panic, for memory
//! beyond its bound (only there, where no other test runs beside it), and for an input that takes [`INPUT_TAKES_MAX`].
//!
//! An input with an outcome that is new (see [`Fuzz::run`]) is mutated further. That leads deep without instrumented code:
//! cargo-fuzz needs a nightly compiler, and libFuzzer a C++ compiler that knows the instrumentation.
//!
//! Start at [`Fuzz`]. [`measured`] is for tests of single files.

#![forbid(unsafe_code)]

mod memory;
mod mutate;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use memory::{alone, measured};
pub use mutate::Random;

/// How many inputs; the variable is set by `make fuzz`.
const INPUTS: &str = "LSGAN_FUZZ_INPUTS";
/// The number from which inputs are drawn. A failure prints it.
const SEED: &str = "LSGAN_FUZZ_SEED";
/// How long `make test` fuzzes a target.
const SHORT: Duration = Duration::from_secs(1);
/// And with how many inputs at most: the first of the seed, which have all been tried, so that a faster machine finds nothing in
/// somebody's unrelated change.
const SHORT_INPUTS: u64 = 10_000;
/// On a busy machine. What takes a thousandth of it is a fault of the parser as well, which only a person sees.
const INPUT_TAKES_MAX: Duration = Duration::from_secs(20);
/// New outcomes beyond this are no news: the text of an error may show what was read.
const EXAMPLES_MAX: usize = 4096;

/// Mends what a mutated input would only be refused for, such as a checksum.
pub type Mend = fn(&mut Vec<u8>);

/// A target.
pub struct Fuzz {
    name: &'static str,
    examples: Vec<Vec<u8>>,
    mend: Mend,
    peak_max_bytes: usize,
}

impl Fuzz {
    /// Begins with valid `examples`; an input takes at most 64 MiB of memory.
    #[must_use]
    pub fn new(name: &'static str, examples: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let examples: Vec<_> = examples.into_iter().collect();
        assert!(!examples.is_empty(), "{name} has no examples");
        Self { name, examples, mend: |_| (), peak_max_bytes: 64 << 20 }
    }

    /// Half of the inputs are mended, so that they get behind a checksum.
    #[must_use]
    pub fn mend(self, mend: Mend) -> Self {
        Self { mend, ..self }
    }

    /// The most memory that an input may take.
    #[must_use]
    pub fn peak_max(self, peak_max_bytes: usize) -> Self {
        Self { peak_max_bytes, ..self }
    }

    /// Calls `parse` with each input. It returns what came of it (`ok`, the error's text), and asserts what always holds.
    ///
    /// # Panics
    /// An input breaks a rule. It is kept in a file, which the message names.
    pub fn run(mut self, mut parse: impl FnMut(&[u8]) -> String) {
        let _alone = alone();
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let (inputs, seed) = (number(INPUTS), number(SEED).unwrap_or(1));
        let mut random = Random::new(seed);
        let (begun, mut outcomes, mut done) = (Instant::now(), BTreeSet::new(), 0_u64);
        let first = self.examples.clone();
        for example in &first {
            outcomes.insert(self.check(example, &mut parse, false));
        }
        while inputs.map_or(begun.elapsed() < SHORT && done < SHORT_INPUTS, |inputs| done < inputs) {
            let mut input = random.of(&self.examples).clone();
            random.mutate(&mut input, &self.examples);
            if random.below(2) == 0 {
                (self.mend)(&mut input);
            }
            let outcome = self.check(&input, &mut parse, inputs.is_some());
            if self.examples.len() < EXAMPLES_MAX && outcomes.insert(outcome) {
                self.examples.push(input);
            }
            done += 1;
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{}: {done} inputs from seed {seed} in {seconds:.1} s, {} outcomes",
            self.name,
            outcomes.len()
        );
    }

    /// What came of an input, in few words.
    fn check(&self, input: &[u8], parse: &mut impl FnMut(&[u8]) -> String, is_alone: bool) -> String {
        let begun = Instant::now();
        let (outcome, peak_bytes) = measured(|| catch_unwind(AssertUnwindSafe(|| parse(input))));
        let takes = begun.elapsed();
        let outcome = outcome.unwrap_or_else(|panic| {
            println!("{}: the input that panicked is {}", self.name, self.keep(input).display());
            resume_unwind(panic)
        });
        let is_too_much = is_alone && peak_bytes > self.peak_max_bytes;
        assert!(
            !is_too_much && takes < INPUT_TAKES_MAX,
            "{}: {} takes {peak_bytes} bytes of memory and {takes:?}: {outcome}",
            self.name,
            self.keep(input).display()
        );
        // Numbers and names that were read are no news.
        let words = outcome.chars().filter(|c| c.is_ascii_alphabetic() || *c == ' ');
        words.take(80).collect()
    }

    /// Writes an input to a file, to be looked at.
    fn keep(&self, input: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("lsgan-fuzz-{}-{}", self.name, std::process::id()));
        std::fs::write(&path, input)
            .map_or_else(|error| PathBuf::from(format!("{input:?} ({error})")), |()| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds what is three steps deep within a second: a magic, a length, and a bug.
    #[test]
    fn a_bug_behind_a_length_is_found() {
        let parse = |input: &[u8]| {
            let Some((head, rest)) = input.split_at_checked(5) else { return "short".to_owned() };
            let [b'm', b'a', b'g', b'i', len] = *head else { return "magic".to_owned() };
            if usize::from(len) > rest.len() {
                return "cut off".to_owned();
            }
            assert!(rest[..len.into()].iter().all(|byte| *byte != 0xff), "found");
            "ok".to_owned()
        };
        let example = b"magi\x03abc".to_vec();
        let found = catch_unwind(|| Fuzz::new("self-test", [example]).run(parse));
        let text = found.expect_err("an input with 255 is found");
        assert_eq!(text.downcast_ref::<&str>(), Some(&"found"));
    }

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let inputs = |seed| {
            let mut random = Random::new(seed);
            let examples = vec![b"one example".to_vec(), b"two".to_vec()];
            let one = |_| {
                let mut input = random.of(&examples).clone();
                random.mutate(&mut input, &examples);
                input
            };
            (0..100).map(one).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
        // Some are cut to the same few bytes.
        let different: BTreeSet<_> = inputs(7).into_iter().collect();
        assert!(different.len() > 50, "{} of 100", different.len());
    }
}
