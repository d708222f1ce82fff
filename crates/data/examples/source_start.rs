//! Measures a start: opens a source, begins at a step, takes some batches, and prints one line of JSON: the seconds to open
//! it and to the first batch, the number of records that were read more than once, and resident memory.
//!
//! Run: `cargo run --release -p lsgan-data --example source_start -- KIND PLACE STEP INDEX_DIR`, with a KIND such as
//! `lsun`. The first run builds the index in INDEX_DIR, the second reads it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use lsgan_data::{
    Fingerprint, Leases, Loader, LoaderOptions, OpenOptions, RecordError, SampleShape, Source, open_with,
    sources,
};
use lsgan_plan::{Geometry, Plan};
use lsgan_spec::{DataSpec, Fit, ImageSpec, Step, VirtualRank};

const BATCH: u32 = 64;
const AHEAD_STEPS: usize = 8;
const STEPS: usize = 50;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, place, step, index_dir] = &args[..] else {
        panic!("four arguments; see the head of this file")
    };
    let source = sources::at(kind, place).expect("a kind of source that reads files");
    let image = ImageSpec { fit: Fit::Squash, ..ImageSpec::of(64, 3) };
    let spec = DataSpec::of(source, Some(image));
    let begin = Instant::now();
    let options = OpenOptions { index_dir: Some(index_dir.into()), ..OpenOptions::new(1) };
    let source = open_with(&spec, &options).unwrap_or_else(|error| panic!("{error}"));
    let open_s = begin.elapsed().as_secs_f64();
    let records = source.len();
    let counted = Arc::new(Counted { source, reads: Mutex::default() });

    let geometry = Geometry::new(records, spec.shard_records, 1, BATCH).expect("none is 0");
    let leases = Arc::new(Leases::new());
    leases.grant(VirtualRank(0), u64::MAX);
    let from = Step(step.parse().expect("a step"));
    let options = LoaderOptions {
        ranks: vec![VirtualRank(0)],
        from,
        threads: 2,
        depth_steps: AHEAD_STEPS,
        classes: false,
    };
    let mut loader =
        Loader::start(counted.clone(), Plan::new(1, geometry), leases, options).expect("it makes sense");
    let first = loader.next().unwrap_or_else(|error| panic!("{error}"));
    let first_batch_s = begin.elapsed().as_secs_f64();
    loader.recycle(first);
    for _ in 1..STEPS {
        let batch = loader.next().unwrap_or_else(|error| panic!("{error}"));
        loader.recycle(batch);
    }
    drop(loader);
    let twice = counted.reads.lock().expect("nobody panicked").values().filter(|count| **count > 1).count();
    println!(
        "{{\"kind\":\"{kind}\",\"records\":{records},\"open_s\":{open_s:.3},\"first_batch_s\":{first_batch_s:.3},\
         \"read_twice\":{twice},\"rss_mib\":{:.1},\"peak_rss_mib\":{:.1}}}",
        status_mib("VmRSS:"),
        status_mib("VmHWM:")
    );
}

/// A line of the process's status, in MiB.
fn status_mib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says what a process has");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("there is such a line");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("it is a number") / 1024.0
}

/// Counts how often each record is read.
struct Counted {
    source: Box<dyn Source>,
    reads: Mutex<BTreeMap<u64, u32>>,
}

impl Source for Counted {
    fn kind(&self) -> &'static str {
        self.source.kind()
    }

    fn len(&self) -> u64 {
        self.source.len()
    }

    fn sample_shape(&self) -> SampleShape {
        self.source.sample_shape()
    }

    fn read(&self, record: u64, out: &mut [f32]) -> Result<(), RecordError> {
        *self.reads.lock().expect("nobody panicked").entry(record).or_default() += 1;
        self.source.read(record, out)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.source.fingerprint()
    }
}
