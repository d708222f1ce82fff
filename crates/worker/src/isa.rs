//! Keeps libtorch's kernels to the instructions that the run's file allows.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use lsgan_console::Failure;
use lsgan_spec::CpuIsa;

/// What libtorch and its oneDNN read once, when they are first used.
const AVX2: [(&str, &str); 2] = [("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2")];

/// Starts this program again with the environment that the run's file asks for, unless it has it. Returns where
/// nothing is to be done; to be called before libtorch is used.
///
/// # Errors
/// The operating system does not start it.
pub fn enforce(isa: CpuIsa) -> Result<(), Failure> {
    let wanted: &[(&str, &str)] = match isa {
        CpuIsa::Native => &[],
        CpuIsa::Avx2 => &AVX2,
    };
    let has = |(name, value): &(&str, &str)| std::env::var_os(name) == Some(OsString::from(value));
    if wanted.iter().all(has) {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).envs(wanted.iter().copied());
    // Only a failure comes back from this.
    Err(Failure::failed(format!("the worker cannot be started again for compute.cpu_isa: {}", again.exec())))
}
