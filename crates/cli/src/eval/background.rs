//! Scores beside a run on the same machine.

use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// The lowest priority: a process that computes gets nearly all of a CPU that both want.
const NICE: i32 = 19;

/// Leaves the CPUs to the processes that train.
pub fn give_way() {
    // SAFETY: it takes three numbers and touches no memory. A system that refuses lets this process compete, which changes no
    // bit.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// Ends with the process that started this one and reads what it prints.
pub fn end_with_parent() {
    // Where that is refused, this process ends by itself a little later.
    let _ = set_pdeathsig(Signal::SIGKILL);
}
