//! Measures the images per second of one core: reads the records of a source in the order of training on one thread, and
//! prints one line of JSON.
//!
//! Run: `cargo run --release -p lsgan-data --example source_rate -- KIND PLACE SIZE SECONDS`, with a KIND such as `lsun`.

use std::time::{Duration, Instant};

use lsgan_data::{Source, open, sources};
use lsgan_plan::{Geometry, Plan};
use lsgan_spec::{DataSpec, Fit, ImageSpec, Step, VirtualRank};

const BATCH: u32 = 64;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, place, size, seconds] = &args[..] else { panic!("four arguments; see the head of this file") };
    let image = ImageSpec { fit: Fit::Squash, ..ImageSpec::of(size.parse().expect("a number of pixels"), 3) };
    let source = sources::at(kind, place).expect("a kind of source that reads files");
    let spec = DataSpec::of(source, Some(image));
    let source = open(&spec, 1).unwrap_or_else(|error| panic!("{error}"));
    let geometry = Geometry::new(source.len(), spec.shard_records, 1, BATCH).expect("none is 0");
    let measured = Duration::from_secs_f64(seconds.parse().expect("a number of seconds"));
    let (images, elapsed) = read(&*source, &Plan::new(1, geometry), measured);
    println!(
        "{{\"kind\":\"{kind}\",\"records\":{},\"images\":{images},\"images_per_s_core\":{:.1}}}",
        source.len(),
        images as f64 / elapsed.as_secs_f64()
    );
}

fn read(source: &dyn Source, plan: &Plan, measured: Duration) -> (u64, Duration) {
    let mut batch = vec![0.0; source.sample_len() * BATCH as usize];
    let (mut images, begin) = (0, Instant::now());
    for step in (0..).map(Step) {
        for (it, place) in plan.batch(VirtualRank(0), step).zip(batch.chunks_exact_mut(source.sample_len())) {
            source.read(it.record, place).unwrap_or_else(|error| panic!("{error}"));
        }
        images += u64::from(BATCH);
        if begin.elapsed() >= measured {
            break;
        }
    }
    (images, begin.elapsed())
}
