//! The training pictures nearest to pictures of which it is known.

use std::num::NonZero;
use std::path::Path;

use lsgan_data::Source;
use lsgan_evaluate::chunks::Pictures;
use lsgan_evaluate::nearest::{Neighbour, Search, nearest};
use lsgan_evaluate::{Choice, Resize};
use lsgan_spec::{DataSpec, IdxSource, ImageSpec};

fn data() -> Box<dyn Source> {
    let images = "../../datasets/fashion-mnist/t10k-images-idx3-ubyte.gz";
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join(images);
    let idx = lsgan_spec::Source::Idx(IdxSource::of(images));
    lsgan_data::open(&DataSpec::of(idx, Some(ImageSpec::of(32, 1))), 1).unwrap()
}

fn search(pictures: &Pictures, records_max: u64, threads: usize) -> Vec<Vec<Neighbour>> {
    let extractor = Choice::Clothes.open(Resize::Antialiased).unwrap();
    let search = Search { neighbours: 3, records_max, threads: NonZero::new(threads).unwrap() };
    nearest(pictures, &*data(), &*extractor, search, &|done, total| assert!(done <= total)).unwrap()
}

/// Records 0, 4 000, … as if G had learned them by heart: each is its own nearest neighbour, at no distance.
#[test]
fn a_picture_of_the_data_set_is_found_again_whatever_number_of_threads_looks() {
    let data = data();
    let records = [0, 4_000, 4_163, 9_998];
    let mut samples = vec![0.0; records.len() * data.sample_len()];
    for (record, sample) in records.iter().zip(samples.chunks_exact_mut(data.sample_len())) {
        data.read(*record, sample).unwrap();
    }
    let pictures = Pictures::of_samples(32, 1, &samples);
    // Every second record of 10,000: more than are looked at at once.
    let found = search(&pictures, 5_000, 2);
    for (record, row) in records.iter().zip(&found) {
        assert_eq!(row.len(), 3);
        assert!(row.is_sorted_by(|a, b| a.distance <= b.distance), "{row:?}");
        assert!(row.iter().all(|near| near.record.is_multiple_of(2)), "{row:?}");
        let is_looked_at = record.is_multiple_of(2);
        assert_eq!(row[0] == Neighbour { record: *record, distance: 0.0 }, is_looked_at, "{row:?}");
    }
    assert_eq!(search(&pictures, 5_000, 1), found);
}
