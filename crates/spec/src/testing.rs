//! Strategies for property tests, for this crate and those that take a spec.

use std::time::Duration;

use proptest::option;
use proptest::prelude::*;

use crate::*;

/// Any spec that passes all checks, except that the files it names need not exist. Edges are favoured.
pub fn run_spec() -> BoxedStrategy<RunSpec> {
    (parts(), prop_oneof![dcgan(), lsgan112(), mlp()])
        .prop_map(|(mut spec, (data, model))| {
            spec.batch.per_rank = match model.generator {
                Generator::Mlp { .. } => spec.batch.per_rank,
                Generator::Dcgan { .. } | Generator::Lsgan112 { .. } => spec.batch.per_rank.max(2),
            };
            spec.data = data;
            spec.model = model;
            spec
        })
        .boxed()
}

/// A whole number of the range, its ends more often than the rest.
fn whole<T>(least: T, most: T) -> BoxedStrategy<T>
where
    T: Clone + std::fmt::Debug + 'static,
    std::ops::RangeInclusive<T>: Strategy<Value = T>,
{
    prop_oneof![1 => Just(least.clone()), 1 => Just(most.clone()), 4 => least..=most].boxed()
}

fn above_zero(most: f64) -> BoxedStrategy<f64> {
    prop_oneof![Just(most), Just(1e-8), Just(f64::MIN_POSITIVE), (0.0..most).prop_map(move |x| most - x)]
        .boxed()
}

fn below_one() -> BoxedStrategy<f64> {
    prop_oneof![Just(0.0), Just(0.999), 0.0..1.0].boxed()
}

fn latent() -> BoxedStrategy<Latent> {
    prop_oneof![whole(1, 16_384).prop_map(Latent::Normal), whole(1, 16_384).prop_map(Latent::Uniform)].boxed()
}

fn optimizer() -> BoxedStrategy<Optimizer> {
    (above_zero(1.0), below_one(), below_one(), above_zero(1.0))
        .prop_map(|(learning_rate, beta1, beta2, epsilon)| Optimizer::Adam {
            learning_rate,
            beta1,
            beta2,
            epsilon,
        })
        .boxed()
}

fn objective() -> BoxedStrategy<Objective> {
    let target = || prop_oneof![Just(0.0), Just(-1.0), -1.0e6..1.0e6];
    prop_oneof![
        (target(), target(), target()).prop_filter_map("b is not a", |(a, b, c)| {
            (a as f32 != b as f32).then_some(Objective::LeastSquares { a, b, c })
        }),
        Just(Objective::Minimax {}),
        Just(Objective::NonSaturating {}),
    ]
    .boxed()
}

type Networks = (DataSpec, ModelSpec);

fn pictures(size: impl Strategy<Value = u32> + 'static) -> BoxedStrategy<DataSpec> {
    let fit = prop_oneof![Just(Fit::Pad), Just(Fit::Crop), Just(Fit::Squash)];
    let flip = prop_oneof![Just(Flip::Never), Just(Flip::Random)];
    let channels = prop_oneof![Just(1), Just(3)];
    let image = (size, channels, fit, flip)
        .prop_map(|(size, channels, fit, flip)| Some(ImageSpec { size, channels, fit, flip }));
    data(pictures_source(), image)
}

fn pictures_source() -> impl Strategy<Value = Source> {
    // Among the paths are words and numbers that YAML would take for something else.
    let path = || "[a-zA-Z0-9~./_ é#:-]{0,20}[a-z0-9]";
    prop_oneof![
        (path(), option::of(path())).prop_map(|(images, labels)| {
            Source::Idx(IdxSource { labels: labels.map(Into::into), ..IdxSource::of(images) })
        }),
        path().prop_map(|path| Source::Folder(FolderSource { path: path.into() })),
        path().prop_map(|path| Source::Lsun(LsunSource { path: path.into() })),
        "[a-z0-9~./: #-]{0,10}[a-z0-9]\\{0{1,6}\\.\\.[0-9]{1,6}\\}"
            .prop_map(|shards| Source::Webdataset(WebdatasetSource { shards })),
    ]
}

fn data(
    source: impl Strategy<Value = Source> + 'static,
    image: impl Strategy<Value = Option<ImageSpec>> + 'static,
) -> BoxedStrategy<DataSpec> {
    let max_corrupt = prop_oneof![Just(0.0), Just(0.001), Just(1.0), 0.0..=1.0];
    (source, image, whole(1, 1_048_576), whole(1, 1024), max_corrupt)
        .prop_map(|(source, image, shard_records, mix, max_corrupt)| DataSpec {
            source,
            image,
            shard_records,
            mix,
            max_corrupt,
        })
        .boxed()
}

fn dcgan() -> BoxedStrategy<Networks> {
    let data = pictures(prop_oneof![Just(32), Just(64), Just(128)]);
    (data, latent(), whole(1, 512), whole(1, 512))
        .prop_map(|(data, latent, g, d)| {
            let generator = Generator::Dcgan { latent, width: g };
            (data, ModelSpec { generator, discriminator: Discriminator::Dcgan { width: d } })
        })
        .boxed()
}

fn lsgan112() -> BoxedStrategy<Networks> {
    (pictures(Just(112)), latent(), whole(1, 256), whole(1, 256))
        .prop_map(|(data, latent, g, d)| {
            let generator = Generator::Lsgan112 { latent, width: g };
            (data, ModelSpec { generator, discriminator: Discriminator::Lsgan112 { width: d } })
        })
        .boxed()
}

fn mlp() -> BoxedStrategy<Networks> {
    let source = (modes(), above_zero(10.0), whole(1, MAX_STEPS))
        .prop_map(|(modes, sigma, records)| Source::Gaussian(GaussianSource { modes, sigma, records }));
    let data = data(source, Just(None));
    let layers = || (whole(1, 4096), whole(1, 8), above_zero(10.0));
    (data, latent(), layers(), layers())
        .prop_map(|(data, latent, (width, depth, gain), d)| {
            let generator = Generator::Mlp { latent, width, depth, gain };
            (
                data,
                ModelSpec {
                    generator,
                    discriminator: Discriminator::Mlp { width: d.0, depth: d.1, gain: d.2 },
                },
            )
        })
        .boxed()
}

fn modes() -> BoxedStrategy<Modes> {
    prop_oneof![
        (whole(1, 1024), above_zero(100.0)).prop_map(|(count, radius)| Modes::Ring { count, radius }),
        (whole(1, 32), whole(1, 32), above_zero(100.0)).prop_map(|(columns, rows, spacing)| Modes::Grid {
            columns,
            rows,
            spacing
        }),
        (whole(1, 1024), above_zero(100.0)).prop_map(|(count, spacing)| Modes::Line { count, spacing }),
    ]
    .boxed()
}

fn cluster(virtual_ranks: u32) -> BoxedStrategy<ClusterSpec> {
    let timeout = whole(200_000_000u64, 3_600_000_000_000)
        .prop_map(|nanos| FailureTimeout::Fixed(Duration::from_nanos(nanos)));
    let timeout = prop_oneof![Just(FailureTimeout::Auto), timeout];
    let gather = whole(0u64, 3_600_000_000_000);
    let numerics = prop_oneof![Just(NumericsPolicy::Same), Just(NumericsPolicy::Any)];
    let stragglers = prop_oneof![Just(StragglerPolicy::Report), Just(StragglerPolicy::Evict)];
    let stragglers = (1.1..=100.0, stragglers);
    (whole(1, virtual_ranks), timeout, gather, whole(1, 1_000_000), numerics, stragglers)
        .prop_flat_map(|(min_workers, timeout, gather, lease_horizon_steps, numerics, stragglers)| {
            whole(min_workers, 4096).prop_map(move |max_workers| ClusterSpec {
                min_workers,
                max_workers,
                failure_timeout: timeout,
                gather: Duration::from_nanos(gather),
                lease_horizon_steps,
                numerics,
                straggler_factor: stragglers.0,
                stragglers: stragglers.1,
            })
        })
        .boxed()
}

/// Everything but the data and the model, which must fit each other.
fn parts() -> BoxedStrategy<RunSpec> {
    let cluster = whole(1, 4096).prop_flat_map(|ranks| (Just(ranks), cluster(ranks))).boxed();
    let grid = (whole(1, 64), whole(1, 64)).prop_map(|(columns, rows)| Grid { columns, rows });
    let weights = prop_oneof![Just(SampleWeights::Ema), Just(SampleWeights::Raw)];
    let samples = (grid, whole(0, MAX_STEPS), weights)
        .prop_map(|(grid, every, weights)| SamplesSpec { grid, every, weights })
        .boxed();
    let device = prop_oneof![
        Just(Device::Auto),
        Just(Device::Cpu),
        Just(Device::Cuda),
        (0_u32..1024).prop_map(Device::CudaIndex)
    ];
    let cpu_isa = prop_oneof![Just(CpuIsa::Native), Just(CpuIsa::Avx2)];
    let cuda_graphs = prop_oneof![Just(CudaGraphs::Auto), Just(CudaGraphs::Off)];
    let compute = (device, whole(1, 256), whole(1, 256), cpu_isa, any::<bool>(), cuda_graphs)
        .prop_map(|(device, threads, loader_threads, cpu_isa, deterministic, cuda_graphs)| ComputeSpec {
            device,
            threads,
            loader_threads,
            cpu_isa,
            deterministic,
            cuda_graphs,
        })
        .boxed();
    let checkpoint = ("[a-z0-9~.:/ #-]{0,20}[a-z0-9]", whole(0, MAX_STEPS), whole(1, 1_000_000))
        .prop_map(|(to, every, keep_last)| CheckpointSpec { to, every, keep_last })
        .boxed();
    // The second half are words that YAML would take for something else.
    let name = prop_oneof!["[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}", "(no|null|true|1e5|0x10|1_0|12|1\\.5|010|y)"];
    let report = (whole(1, 1_000_000), whole(0, MAX_STEPS))
        .prop_map(|(every, state_hash_every)| ReportSpec { every, state_hash_every });
    let numbers = (name, whole(0, MAX_SEED), whole(1, MAX_STEPS), whole(1, 65_536), report);
    let words = (
        option::of(below_one()),
        prop_oneof![Just(Precision::F32), Just(Precision::Tf32), Just(Precision::Bf16)],
        prop_oneof![Just(ReductionMode::Exact), Just(ReductionMode::Fast)],
    );
    let places = (cluster, samples, compute, checkpoint);
    (numbers, words, places, objective(), optimizer(), optimizer())
        .prop_map(|(numbers, words, places, objective, generator, discriminator)| {
            let (run, seed, steps, per_rank, report) = numbers;
            let (decay, precision, reduction) = words;
            let ((virtual_ranks, cluster), samples, compute, checkpoint) = places;
            RunSpec {
                run,
                seed,
                steps,
                data: DataSpec::of(Source::Idx(IdxSource::of("x")), None),
                model: ModelSpec {
                    generator: Generator::Dcgan { latent: Latent::Normal(1), width: 1 },
                    discriminator: Discriminator::Dcgan { width: 1 },
                },
                objective,
                optimizer: OptimizersSpec { generator, discriminator },
                batch: BatchSpec { virtual_ranks, per_rank },
                ema: decay.map_or_else(EmaSpec::default, |decay| EmaSpec { decay }),
                precision,
                reduction,
                compute,
                cluster,
                checkpoint,
                samples,
                report,
            }
        })
        .boxed()
}
