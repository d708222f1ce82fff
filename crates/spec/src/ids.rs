//! Numbers that have a meaning have a type: they cannot be mixed up, and counting past the end says so.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The one after this. Panics with a message instead of wrapping.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect(concat!(stringify!($name), " counts past its last value")))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// One discriminator update and one generator update, unless that half is idle ([`crate::OptimizersSpec::is_idle`]). Counts
    /// from 0.
    Step(u64)
}
id! {
    /// How many all-reduces have been applied. Before step t it is 2t, between its two updates 2t+1.
    Reduction(u64)
}
id! {
    /// One membership of the collective group; monotonic over the whole run, fences every message. 0 is none.
    Generation(u64)
}
id! {
    /// One life of a worker: a worker that comes back is a new incarnation. Never used twice in a run.
    Incarnation(u64)
}
id! {
    /// One of the V fixed slices of the global batch, in `0..V`.
    VirtualRank(u32)
}
id! {
    /// A place in the endless sequence of shards, epoch after epoch. Belongs to virtual rank `p mod V`.
    Position(u64)
}
id! {
    /// A contiguous run of records of the data set: records `[i·shard_records, (i+1)·shard_records)`.
    Shard(u64)
}
id! {
    /// Milliseconds since an origin that the shell chooses. The pure crates get it as an argument.
    Millis(u64)
}

impl Step {
    /// Reductions applied when this step begins: 2t.
    #[must_use]
    pub fn first_reduction(self) -> Reduction {
        Reduction(self.0.checked_mul(2).expect("a step's reduction fits in u64"))
    }
}

impl Reduction {
    /// The step that is under way (or about to begin) when this many reductions are applied.
    #[must_use]
    pub fn step(self) -> Step {
        Step(self.0 / 2)
    }

    /// The half of that step that comes next.
    #[must_use]
    pub fn half(self) -> Half {
        if self.0.is_multiple_of(2) { Half::Discriminator } else { Half::Generator }
    }
}

/// The two halves of a step, each ended by one reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Half {
    /// Forward of G (kept), D on real and fake, update of D.
    Discriminator,
    /// D frozen on the kept fake, update of G and of its EMA.
    Generator,
}

impl Millis {
    /// This time and `more_ms` milliseconds; stays at the last value instead of wrapping.
    #[must_use]
    pub fn plus(self, more_ms: u64) -> Self {
        Self(self.0.saturating_add(more_ms))
    }
}
