//! What goes wrong on purpose, in tests.

use std::time::Instant;

use crate::Args;

/// The faults that the command line asks for.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// A bit of the weights flips after so many steps.
    pub flip_bit_at: Option<u64>,
    panic_at: Option<u64>,
    stall_at: Option<u64>,
    slowness: u32,
}

impl Faults {
    /// Those of a command line.
    #[must_use]
    pub fn of(args: &Args) -> Self {
        Self {
            flip_bit_at: args.fault_flip_bit,
            panic_at: args.fault_panic_at,
            stall_at: args.fault_stall_at,
            slowness: args.fault_slowness,
        }
    }

    /// Ends the thread after so many steps, or has it stand still.
    pub fn cripple(self, done: u64) {
        assert!(self.panic_at != Some(done), "after step {done}, as --fault-panic-at says");
        while self.stall_at == Some(done) {
            std::thread::park();
        }
    }

    /// Stretches what began then.
    pub fn dawdle(self, begin: Instant) {
        if self.slowness > 1 {
            std::thread::sleep(begin.elapsed() * (self.slowness - 1));
        }
    }
}
