//! What the loader costs: prints µs a step for the batches of the shipped configurations, read with one thread by a
//! caller who wants nothing else. Run: `cargo run --release -p lsgan-data --example loader_rate`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsgan_data::{Leases, Loader, LoaderOptions, Source, open};
use lsgan_plan::{Geometry, Plan};
use lsgan_spec::{
    DataSpec, Fit, GaussianSource, IdxSource, ImageSpec, Modes, Source as Spec, Step, VirtualRank,
};

const MEASURED: Duration = Duration::from_secs(1);

fn main() {
    let images =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/fashion-mnist/t10k-images-idx3-ubyte.gz");
    let fashion = |size, fit| {
        let source = Spec::Idx(IdxSource::of(images.clone()));
        DataSpec::of(source, Some(ImageSpec { fit, ..ImageSpec::of(size, 1) }))
    };
    let modes = Modes::Ring { count: 8, radius: 1.0 };
    let ring = Spec::Gaussian(GaussianSource { modes, sigma: 0.01, records: 1 << 20 });
    let ring = DataSpec::of(ring, None);
    for (name, spec, virtual_ranks, per_rank) in [
        ("ring, 1 x 512", &ring, 1, 512),
        ("ring, 4 x 128", &ring, 4, 128),
        ("Fashion-MNIST, pad to 32, 4 x 32", &fashion(32, Fit::Pad), 4, 32),
        ("Fashion-MNIST, squash to 64, 2 x 64", &fashion(64, Fit::Squash), 2, 64),
    ] {
        let begin = Instant::now();
        let source: Arc<dyn Source> = open(spec, 1).expect("the data set opens").into();
        let opened = begin.elapsed();
        let geometry =
            Geometry::new(source.len(), spec.shard_records, virtual_ranks, per_rank).expect("no zeros");
        let us = us_per_step(source, Plan::new(1, geometry));
        println!("{name}: open {:.1} ms, {us:.0} us a step", opened.as_secs_f64() * 1e3);
    }
}

fn us_per_step(source: Arc<dyn Source>, plan: Plan) -> f64 {
    let ranks: Vec<_> = (0..plan.geometry().virtual_ranks()).map(VirtualRank).collect();
    let leases = Arc::new(Leases::new());
    ranks.iter().for_each(|&rank| leases.grant(rank, u64::MAX));
    let options = LoaderOptions { ranks, from: Step(0), threads: 1, depth_steps: 4 };
    let mut loader = Loader::start(source, plan, leases, options).expect("the options make sense");
    let begin = Instant::now();
    let mut steps = 0.0;
    while begin.elapsed() < MEASURED {
        let batch = loader.next().expect("every record reads");
        loader.recycle(batch);
        steps += 1.0;
    }
    begin.elapsed().as_secs_f64() * 1e6 / steps
}
