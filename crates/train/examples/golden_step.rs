//! Three steps or more against the numbers of real PyTorch, on a GPU or the CPU; a line of JSON for each fixture.
//!
//! ```text
//! golden_step FOLDER cpu|cuda|cuda:N
//! ```
//!
//! FOLDER is `tests/reference`. Ends with 1 where something is off by more than is accepted. `tests/it/golden.rs` does the
//! same on the CPU; both use `tests/reference/mod.rs`.

use std::path::Path;
use std::process::ExitCode;

use lsgan_spec::{ComputeSpec, Precision};
use lsgan_train::device;

#[path = "../tests/reference/mod.rs"]
mod reference;

/// A GPU may be off by so many times what a CPU may: cuDNN chooses among algorithms (Winograd's, FFT) that round more
/// than the plain sums of the fixtures' CPU.
const GPU_TIMES: f64 = 10.0;

const USAGE: &str = "usage: golden_step FOLDER cpu|cuda|cuda:N";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [folder, wish] = &arguments[..] else { panic!("{USAGE}") };
    let wish = lsgan_spec::Device::try_from(wish.clone()).expect(USAGE);
    let chosen = device::choose(wish, 0).unwrap_or_else(|error| panic!("{error}")).device;
    device::configure(chosen, Precision::F32, &ComputeSpec::default()).expect("every device has f32");
    let times = if chosen.is_cuda() { GPU_TIMES } else { 1.0 };
    let mut all_good = true;
    for name in reference::NAMES {
        let shares = reference::shares(Path::new(folder), name, chosen);
        let worst = shares
            .iter()
            .max_by(|a, b| (a.share / a.tolerance).total_cmp(&(b.share / b.tolerance)))
            .expect("a fixture has tensors");
        let accepted = worst.tolerance * times;
        // Not a number is not good either.
        let good = shares.iter().all(|one| one.share <= one.tolerance * times);
        all_good &= good;
        println!(
            "{{\"fixture\":\"{name}\",\"compared\":{},\"worst\":\"{}\",\"off_by\":{:e},\"accepted\":{accepted:e},\"good\":{good}}}",
            shares.len(),
            worst.what,
            worst.share,
        );
    }
    if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
