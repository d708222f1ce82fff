//! The tests that every source must pass. [`contract`] runs all of them; a new source adds a row to `tests/it/contract.rs`.

use crate::decode::decode;
use crate::source::Stored;
use crate::{RecordError, SampleShape, Source};

/// Threads that read concurrently.
const THREADS: u64 = 4;

/// Tests `source`, of which exactly the records `undecodable` do not decode. Panics with the property that fails. Reads
/// every record several times, so the source should have thousands of records, not millions.
pub fn contract(source: &dyn Source, undecodable: &[u64]) {
    the_shape_says_how_long_a_sample_is(source);
    let samples = every_record_reads_or_is_named(source, undecodable);
    the_same_bits_from_any_order_and_any_thread(source, &samples);
    what_is_stored_decodes_where_it_reads(source, undecodable);
    a_record_that_is_not_there_is_an_error(source);
    a_buffer_of_another_length_is_an_error(source);
    the_fingerprint_stays(source);
    every_class_has_its_name(source);
    every_record_has_a_key_of_its_own(source);
}

/// The bits of a sample, or the error.
type Outcome = Result<Vec<u32>, RecordError>;

fn read(source: &dyn Source, record: u64) -> Outcome {
    // NaN, so that a missing value is detected.
    let mut sample = vec![f32::NAN; source.sample_len()];
    source.read(record, &mut sample)?;
    Ok(sample.into_iter().map(f32::to_bits).collect())
}

fn the_shape_says_how_long_a_sample_is(source: &dyn Source) {
    assert!(!source.is_empty(), "{}: a data set has records", source.kind());
    assert_eq!(source.sample_len(), source.sample_shape().len(), "{}: f32 in a sample", source.kind());
    assert!(source.sample_len() > 0, "{}: a sample has numbers", source.kind());
}

fn every_record_reads_or_is_named(source: &dyn Source, undecodable: &[u64]) -> Vec<Outcome> {
    let is_picture = matches!(source.sample_shape(), SampleShape::Image { .. });
    let samples: Vec<Outcome> = (0..source.len()).map(|record| read(source, record)).collect();
    for (record, outcome) in (0..).zip(&samples) {
        match outcome {
            Ok(bits) => {
                assert!(!undecodable.contains(&record), "record {record} reads but should not");
                for value in bits.iter().map(|&bits| f32::from_bits(bits)) {
                    let is_fine = value.is_finite() && (!is_picture || (-1.0..=1.0).contains(&value));
                    assert!(is_fine, "record {record} has the value {value}");
                }
            }
            Err(RecordError::Undecodable { key, reason, .. }) => {
                assert!(undecodable.contains(&record), "record {record} (`{key}`) does not decode: {reason}");
                assert!(!key.is_empty() && !reason.is_empty(), "record {record} has no key or no reason");
            }
            Err(error) => panic!("record {record}: {error}"),
        }
    }
    samples
}

/// Reads all records backwards in one thread, then concurrently in several, each in an order of its own with invalid
/// requests in between.
fn the_same_bits_from_any_order_and_any_thread(source: &dyn Source, samples: &[Outcome]) {
    let len = source.len();
    for record in (0..len).rev() {
        assert!(
            read(source, record) == samples[record as usize],
            "record {record} differs when read backwards"
        );
    }
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for i in 0..len {
                    let record = (i * (thread + 1) + thread * len / THREADS) % len;
                    assert!(
                        read(source, record) == samples[record as usize],
                        "record {record} differs in a race"
                    );
                    assert!(source.read(len + i, &mut vec![0.0; source.sample_len()]).is_err());
                    assert!(source.read(record, &mut []).is_err());
                }
            });
        }
    });
}

fn what_is_stored_decodes_where_it_reads(source: &dyn Source, undecodable: &[u64]) {
    for record in 0..source.len() {
        let decodes = match source.stored(record) {
            Ok(Stored::Encoded(bytes)) => decode(&bytes, crate::picture::Channels::Colour).is_ok(),
            Ok(Stored::Pixels(picture)) => {
                let bytes =
                    u64::from(picture.height) * u64::from(picture.width) * picture.channels.count() as u64;
                picture.pixels.len() as u64 == bytes
            }
            Ok(Stored::Made) => {
                assert_eq!(
                    source.sample_shape(),
                    SampleShape::Point2,
                    "record {record}: a picture is kept somewhere"
                );
                continue;
            }
            Err(RecordError::Undecodable { .. }) => false,
            Err(error) => panic!("record {record}: {error}"),
        };
        assert_eq!(decodes, !undecodable.contains(&record), "what is stored of record {record}");
    }
    let error = RecordError::OutOfRange { kind: source.kind(), record: source.len(), len: source.len() };
    assert_eq!(source.stored(source.len()), Err(error));
}

fn a_record_that_is_not_there_is_an_error(source: &dyn Source) {
    let len = source.len();
    for record in [len, len + 1, u64::MAX] {
        assert_eq!(read(source, record), Err(RecordError::OutOfRange { kind: source.kind(), record, len }));
    }
}

fn a_buffer_of_another_length_is_an_error(source: &dyn Source) {
    let expected = source.sample_len();
    for found in [0, expected - 1, expected + 1, 2 * expected] {
        let error = RecordError::WrongLength { kind: source.kind(), record: 0, expected, found };
        assert_eq!(source.read(0, &mut vec![0.0; found]), Err(error));
    }
}

fn the_fingerprint_stays(source: &dyn Source) {
    assert_eq!(source.fingerprint(), source.fingerprint(), "{}: fingerprint", source.kind());
    assert_ne!(source.fingerprint(), [0; 32], "{}: fingerprint", source.kind());
}

fn every_class_has_its_name(source: &dyn Source) {
    let names = source.class_names();
    for class in (0..source.len()).filter_map(|record| source.class(record)) {
        assert!(names.is_empty() || (class as usize) < names.len(), "{}: class {class}", source.kind());
    }
    assert_eq!(source.class(source.len()), None, "{}: the class of no record", source.kind());
}

fn every_record_has_a_key_of_its_own(source: &dyn Source) {
    let keys: Result<std::collections::BTreeSet<_>, _> =
        (0..source.len()).map(|record| source.key(record)).collect();
    assert_eq!(keys.expect("every record has a key").len() as u64, source.len(), "{}: keys", source.kind());
    let error = RecordError::OutOfRange { kind: source.kind(), record: source.len(), len: source.len() };
    assert_eq!(source.key(source.len()), Err(error));
}
