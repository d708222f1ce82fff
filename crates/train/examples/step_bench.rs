//! Times steps on synthetic data and prints one line of JSON.
//!
//! ```text
//! step_bench [--model dcgan64|dcgan32|lsgan112|mlp] [--precision f32|bf16] [--reduction exact|exact64|fast]
//!            [--batch N] [--ranks N] [--threads N] [--steps N] [--warm N] [--allocator system|tuned]
//! ```
//!
//! Start two at once to see what two workers on one host do. `ms` is the median wall time of a step, `mean_ms` the mean,
//! `cpu_ms` the smallest time that the process's threads spent computing one; the phases are medians.

mod support;

use std::time::{Duration, Instant};

use lsgan_spec::*;
use lsgan_train::{ControlWords, Metrics, RankBatch, Replica};
use support::Options;

fn main() {
    let options = Options::read();
    let option = |name: &str, default: &str| options.text(name, default);
    let number = |name: &str, default: &str| options.number(name, default);
    if option("allocator", "tuned") == "tuned" {
        lsgan_train::allocator::tune();
    }
    let (ranks, batch, threads) = (number("ranks", "1"), number("batch", "64"), number("threads", "1"));
    let model = option("model", "dcgan64");
    let mut spec = support::spec(&model);
    spec.batch = BatchSpec { virtual_ranks: ranks, per_rank: batch };
    spec.compute.threads = threads;
    if option("precision", "f32") == "bf16" {
        spec.precision = Precision::Bf16;
    }
    spec.reduction = match option("reduction", "exact").as_str() {
        "exact" => ReductionMode::Exact,
        "exact64" => ReductionMode::Exact64,
        "fast" => ReductionMode::Fast,
        other => panic!("no reduction is called {other}; see the head of this file"),
    };
    let mut replica = Replica::builder(&spec).build().expect("the spec is valid");
    let samples: Vec<f32> =
        (0..replica.batch_len()).map(|i| (i as f32 * 0.618_034).fract() * 2.0 - 1.0).collect();
    let owned: Vec<_> = (0..ranks).map(VirtualRank).collect();
    let warm = number("warm", "2");
    let mut steps = vec![];
    for index in 0..warm + number("steps", "10") {
        let phases = step(&mut replica, &owned, &samples);
        if index >= warm {
            steps.push(phases);
        }
    }
    let median = |of: &dyn Fn(&Phases) -> Duration| {
        let mut times: Vec<_> = steps.iter().map(of).collect();
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let cpu_ms = steps.iter().map(|phases| phases.cpu).min().expect("at least one step").as_secs_f64() * 1e3;
    let ms = median(&|phases| phases.d + phases.g + phases.apply_d + phases.apply_g);
    let total: Duration = steps.iter().map(|p| p.d + p.g + p.apply_d + p.apply_g).sum();
    let fastest = steps.iter().map(|p| p.d + p.g + p.apply_d + p.apply_g).min().expect("at least one step");
    let images = f64::from(ranks * batch);
    println!(
        "{{\"model\":\"{model}\",\"precision\":\"{}\",\"threads\":{threads},\"batch\":{batch},\"ranks\":{ranks},\
         \"ms\":{ms:.2},\"mean_ms\":{:.2},\"min_ms\":{:.2},\"cpu_ms\":{cpu_ms:.2},\"images_per_s\":{:.1},\
         \"images_per_cpu_s\":{:.1},\"d_ms\":{:.2},\"g_ms\":{:.2},\"apply_d_ms\":{:.2},\"apply_g_ms\":{:.2},\
         \"hash\":\"{}\"}}",
        option("precision", "f32"),
        total.as_secs_f64() * 1e3 / steps.len() as f64,
        fastest.as_secs_f64() * 1e3,
        images / ms * 1e3,
        images / cpu_ms * 1e3,
        median(&|phases| phases.d),
        median(&|phases| phases.g),
        median(&|phases| phases.apply_d),
        median(&|phases| phases.apply_g),
        &replica.state_hash().to_hex()[..16],
    );
}

struct Phases {
    d: Duration,
    g: Duration,
    apply_d: Duration,
    apply_g: Duration,
    cpu: Duration,
}

fn step(replica: &mut Replica, owned: &[VirtualRank], samples: &[f32]) -> Phases {
    let step = replica.reduction().step();
    let work: Vec<_> =
        owned.iter().map(|&virtual_rank| RankBatch { virtual_rank, samples, classes: &[] }).collect();
    let cpu = cpu_time();
    let timed = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let none = ControlWords::default();
    let d = timed(&mut || replica.compute_discriminator(step, &work, none).expect("D's half is next"));
    let apply_d = timed(&mut || assert!(replica.apply(Metrics::Skipped).is_ok()));
    let g = timed(&mut || replica.compute_generator(step, owned, none).expect("G's half is next"));
    let apply_g = timed(&mut || assert!(replica.apply(Metrics::Skipped).is_ok()));
    Phases { d, g, apply_d, apply_g, cpu: cpu_time() - cpu }
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "every process has a CPU clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
