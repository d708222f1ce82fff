//! The errors of this crate. Each says where it is and what to do.

use lsgan_spec::{Half, Reduction, Step, VirtualRank};

/// An error of this crate. A wrong shape inside libtorch is not one: that is our bug and panics.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Two parameters of one network have the same name.
    #[error("two tensors of a network are called {name}; each needs a name of its own")]
    NameTwice { name: String },
    /// A model was asked for samples that it cannot make or judge.
    #[error(
        "{model} works on {accepted}, but the run's samples are {found}; choose another model or data.image"
    )]
    Samples { model: &'static str, accepted: &'static str, found: String },
    /// The run's data have pictures without a size, or points with one.
    #[error("{problem}; see data.image in the run's file")]
    Data { problem: &'static str },
    /// A half step was asked for that is not the next one.
    #[error(
        "step {step}'s {half:?} half was asked for, but {reduction} reductions are applied, which stands before \
         step {}'s {:?} half",
        reduction.step(), reduction.half()
    )]
    WrongHalf { step: Step, half: Half, reduction: Reduction },
    /// A virtual rank that the run does not have, or that was given twice.
    #[error("virtual rank {virtual_rank} was given {problem}; a run of {count} has 0 to {}, each once", count - 1)]
    VirtualRank { virtual_rank: VirtualRank, problem: &'static str, count: u32 },
    /// A batch of another length.
    #[error("the batch of virtual rank {virtual_rank} has {found} numbers; {accepted} are needed ({shape})")]
    BatchLength { virtual_rank: VirtualRank, found: usize, accepted: usize, shape: String },
    /// Classes that do not belong to the samples.
    #[error(
        "the batch of virtual rank {virtual_rank} has {classes} classes; {wanted} are needed, each below {count}"
    )]
    Classes { virtual_rank: VirtualRank, classes: usize, wanted: usize, count: u32 },
    /// The device has too little memory for a half step.
    #[error(
        "step {step}: {device} has too little memory for {ranks} virtual rank(s) of batch.per_rank {per_rank}: {words}. \
         Lower batch.per_rank, and raise batch.virtual_ranks to keep the global batch, or use more workers; `worker \
         --probe --config FILE` says what a step needs"
    )]
    OutOfMemory { step: Step, device: String, ranks: usize, per_rank: u32, words: String },
    /// A GPU for which our own kernels cannot be compiled.
    #[error(
        "there are no kernels for this GPU: {why}. Install a libtorch that is built for it (`make setup \
         LIBTORCH_VARIANT=cuda`), or set LIBTORCH to it; compute.device: cpu trains without"
    )]
    NoKernels { why: String },
    /// Simultaneous updates keep a copy of D that no GPU's kernels make.
    #[error(
        "updates: simultaneous is computed on CPUs alone. Set compute.device to cpu, or updates to alternating"
    )]
    SimultaneousOnGpu,
    /// A saved state does not fit the run's networks.
    #[error(
        "the saved state does not fit the run's networks: {problem}; load one of the same model and width"
    )]
    Import { problem: String },
    /// A peer's state has another layout.
    #[error(
        "the peer's state has layout {found:016x}, ours {accepted:016x}: it runs another model or version"
    )]
    PeerLayout { found: u64, accepted: u64 },
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
    NotFinite { step: Step, half: Half, reduction: Reduction, blamed: Vec<(VirtualRank, Blame)> },
    /// The collective was aborted before the device came to the update.
    #[error("step {step}, {half:?} half: the sum was aborted and not applied")]
    Aborted { step: Step, half: Half },
    /// The sum does not hold every virtual rank exactly once: the group's owners were wrong, which is our bug.
    #[error(
        "step {step}, {half:?} half: the sum lacks virtual ranks {missing:?} and holds {twice:?} more than once; \
         it was not applied"
    )]
    Incomplete { step: Step, half: Half, missing: Vec<u32>, twice: Vec<u32> },
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
