//! What every extractor must hold.

use std::num::NonZero;

use super::Extractor;
use crate::chunks::{CHUNK, Pictures, extract};

/// Pictures that are a function of their number: smooth, and each another.
fn picture(number: usize, size: usize, channels: usize) -> Vec<u8> {
    let value = |at: usize| {
        let (channel, x, y) = (at % channels, at / channels % size, at / channels / size);
        let wave = ((x * (number % 7 + 1)) as f64 / size as f64 + number as f64).sin()
            * ((y * (number % 5 + 1) + channel * 3) as f64 / size as f64).cos();
        (127.5 + 127.0 * wave) as u8
    };
    (0..size * size * channels).map(value).collect()
}

fn features(
    extractor: &dyn Extractor,
    (numbers, size, channels): (&[usize], usize, usize),
    threads: usize,
) -> Vec<Vec<u32>> {
    let make = |chunk: usize| {
        let numbers = numbers.chunks(CHUNK).nth(chunk).expect("the chunk is one of them");
        let bytes = numbers.iter().flat_map(|&number| picture(number, size, channels)).collect();
        Ok(Pictures { size, channels, bytes })
    };
    let threads = NonZero::new(threads).expect("at least one");
    let found = extract(extractor, threads, numbers.len().div_ceil(CHUNK), &make, &|_| ());
    let found = found.unwrap_or_else(|error| panic!("{}: {error}", extractor.name()));
    assert_eq!(found.len(), numbers.len() * extractor.features(), "[pictures, features]");
    assert!(found.iter().all(|feature| feature.is_finite()), "features are finite");
    found.chunks(extractor.features()).map(|row| row.iter().map(|value| value.to_bits()).collect()).collect()
}

/// Everything that an extractor guarantees.
///
/// # Panics
/// It does not.
pub fn contract(extractor: &dyn Extractor) {
    assert!(!extractor.name().is_empty() && !extractor.version().is_empty());
    let numbers: Vec<usize> = (0..CHUNK + 9).collect();
    for (size, channels) in [(32, 1), (48, 3)] {
        let one = features(extractor, (&numbers, size, channels), 1);
        assert_eq!(features(extractor, (&numbers, size, channels), 3), one, "threads change no bit");
        let backwards: Vec<usize> = numbers.iter().rev().copied().collect();
        let mut other = features(extractor, (&backwards, size, channels), 2);
        other.reverse();
        assert_eq!(other, one, "the other pictures of a chunk change no bit");
        assert_eq!(
            features(extractor, (&numbers[..3], size, channels), 1),
            one[..3],
            "nor does their number"
        );
        assert_ne!(one[0], one[1], "other pictures have other features");
    }
}
