//! What can go wrong, each with where it is and what to do.

use lsgan_spec::{Half, Reduction, Step, VirtualRank};

/// An error of this crate. A wrong shape inside libtorch is not one: that is our bug and panics.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Two parameters of one network have the same name.
    #[error("two tensors of a network are called {name}; each needs a name of its own")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// A model was asked for samples that it cannot make or judge.
    #[error(
        "{model} works on {accepted}, but the run's samples are {found}; choose another model or data.image"
    )]
    Samples {
        /// The model's word in the run's file.
        model: &'static str,
        /// What it works on.
        accepted: &'static str,
        /// What the run's data are.
        found: String,
    },
    /// The run's data have pictures without a size, or points with one.
    #[error("{problem}; see data.image in the run's file")]
    Data {
        /// What is wrong.
        problem: &'static str,
    },
    /// A half step was asked for that the state does not stand before.
    #[error(
        "step {step}'s {half:?} half was asked for, but {reduction} reductions are applied, which stands before \
         step {}'s {:?} half",
        reduction.step(), reduction.half()
    )]
    WrongHalf {
        /// The step asked for.
        step: Step,
        /// The half asked for.
        half: Half,
        /// What is applied.
        reduction: Reduction,
    },
    /// A virtual rank that the run does not have, or that was given twice.
    #[error("virtual rank {virtual_rank} was given {problem}; a run of {count} has 0 to {}, each once", count - 1)]
    VirtualRank {
        /// The rank.
        virtual_rank: VirtualRank,
        /// What is wrong with it.
        problem: &'static str,
        /// V.
        count: u32,
    },
    /// A batch of another length.
    #[error("the batch of virtual rank {virtual_rank} has {found} numbers; {accepted} are needed ({shape})")]
    BatchLength {
        /// Whose batch.
        virtual_rank: VirtualRank,
        /// Its numbers.
        found: usize,
        /// The numbers needed.
        accepted: usize,
        /// What they are, as `32 samples of [32, 32, 1]`.
        shape: String,
    },
    /// The device has too little memory for a half step.
    #[error(
        "step {step}: {device} has too little memory for {ranks} virtual rank(s) of batch.per_rank {per_rank}: {words}. \
         Lower batch.per_rank, and raise batch.virtual_ranks to keep the global batch, or use more workers; `worker \
         --probe --config FILE` says what a step needs"
    )]
    OutOfMemory {
        /// The step.
        step: Step,
        /// The device, as `the CPU` or `cuda:1`.
        device: String,
        /// How many this worker computes.
        ranks: usize,
        /// Samples of each.
        per_rank: u32,
        /// libtorch's words.
        words: String,
    },
    /// A saved state does not fit the run's networks.
    #[error(
        "the saved state does not fit the run's networks: {problem}; load one of the same model and width"
    )]
    Import {
        /// Which tensor, what was found, what is needed.
        problem: String,
    },
    /// A peer's state has another layout.
    #[error(
        "the peer's state has layout {found:016x}, ours {accepted:016x}: it runs another model or version"
    )]
    PeerLayout {
        /// The peer's.
        found: u64,
        /// Ours.
        accepted: u64,
    },
    /// A picture could not be encoded.
    #[error("the sample picture could not be encoded as PNG: {0}")]
    Picture(#[from] image::ImageError),
}

/// Why the sum of a reduction was not applied. The state is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApplied {
    /// A virtual rank's gradients are not finite or too large to be summed exactly.
    #[error(
        "step {step}: the {} is {}; the weights stay at reduction {reduction}. Look at these \
         ranks' data, or branch off from a snapshot before the losses grew, with a lower learning rate: --fork NAME \
         --fork-at STEP",
        network(.half), sentence(.blamed)
    )]
    NotFinite {
        /// The step.
        step: Step,
        /// D's half or G's.
        half: Half,
        /// Reductions applied, unchanged.
        reduction: Reduction,
        /// Each virtual rank that is to blame, and why.
        blamed: Vec<(VirtualRank, Blame)>,
    },
    /// The collective was aborted before the device came to the update.
    #[error("step {step}, {half:?} half: the sum was aborted and not applied")]
    Aborted {
        /// The step.
        step: Step,
        /// D's half or G's.
        half: Half,
    },
    /// The sum does not hold every virtual rank exactly once: the group's owners were wrong, which is our bug.
    #[error(
        "step {step}, {half:?} half: the sum lacks virtual ranks {missing:?} and holds {twice:?} more than once; \
         it was not applied"
    )]
    Incomplete {
        /// The step.
        step: Step,
        /// D's half or G's.
        half: Half,
        /// Ranks that nobody computed.
        missing: Vec<u32>,
        /// Ranks that several computed.
        twice: Vec<u32>,
    },
}

/// What is wrong with a virtual rank's gradients; the worse one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blame {
    /// A number beyond ±2^14, the range of the exact sum.
    OutOfRange,
    /// A NaN or an infinity.
    NotFinite,
}

fn network(half: &Half) -> &'static str {
    match half {
        Half::Discriminator => "discriminator's gradient",
        Half::Generator => "generator's gradient",
    }
}

fn sentence(ranks: &[(VirtualRank, Blame)]) -> String {
    let of = |blame, word: &str| {
        let ranks: Vec<_> =
            ranks.iter().filter(|(_, b)| *b == blame).map(|(rank, _)| rank.to_string()).collect();
        (!ranks.is_empty()).then(|| format!("{word} on virtual rank {}", ranks.join(", ")))
    };
    let both = [of(Blame::NotFinite, "not finite"), of(Blame::OutOfRange, "too large to be summed")];
    both.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}
