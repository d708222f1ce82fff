//! Faults for tests: arguments that `--help` does not show. No other module reads them from the command line.

use std::time::Instant;

use lsgan_train::rehearsal::Rehearsal;

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Faults {
    /// Flip a bit of the weights after so many steps.
    #[arg(long = "fault-flip-bit", value_name = "STEP", hide = true)]
    pub flip_bit_at: Option<u64>,
    /// Have the training thread panic after so many steps.
    #[arg(long = "fault-panic-at", value_name = "STEP", hide = true)]
    panic_at: Option<u64>,
    /// Have the training thread hang after so many steps.
    #[arg(long = "fault-stall-at", value_name = "STEP", hide = true)]
    stall_at: Option<u64>,
    /// Compute so many times as slowly.
    #[arg(long = "fault-slowness", value_name = "TIMES", hide = true, default_value_t = 1)]
    slowness: u32,
    /// Queue and record as on a GPU, on a CPU.
    #[arg(long, hide = true)]
    rehearse_gpu: bool,
}

impl Faults {
    /// How a CPU plays a GPU, if it does.
    #[must_use]
    pub fn rehearsal(self) -> Option<Rehearsal> {
        self.rehearse_gpu.then_some(Rehearsal::Recorded)
    }

    /// Panics or hangs if that is due after so many steps.
    pub fn fail_after(self, done: u64) {
        assert!(self.panic_at != Some(done), "after step {done}, as --fault-panic-at says");
        while self.stall_at == Some(done) {
            std::thread::park();
        }
    }

    /// Stretches what began then.
    pub fn slow_down(self, begin: Instant) {
        if self.slowness > 1 {
            std::thread::sleep(begin.elapsed() * (self.slowness - 1));
        }
    }
}
