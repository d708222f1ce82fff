//! The numbers on which the order of the samples depends, beside the seed.

/// How the records of a data set are divided into shards, and the shards among the virtual ranks. All are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    records: u64,
    shard_records: u64,
    virtual_ranks: u32,
    per_rank: u32,
    mix: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error(
        "the data set has 0 records; an epoch needs at least 1. Point data.source at a data set that has records."
    )]
    NoRecords,
    #[error("data.shard_records is 0; a shard holds at least 1 record. Set it to 256, the default.")]
    EmptyShards,
    #[error(
        "batch.virtual_ranks is 0; at least 1 computes. Set it to the most workers that you will ever use."
    )]
    NoVirtualRanks,
    #[error("batch.per_rank is 0; a virtual rank sees at least 1 sample in a step. Set it to 1 or more.")]
    EmptyBatch,
    #[error(
        "data.mix is 0; the records of at least 1 shard are shuffled together. Set it to 1, the default."
    )]
    NoMix,
    /// A position has 64 bits.
    #[error(
        "steps is {steps}; with {virtual_ranks} virtual ranks of {per_rank} samples and shards of \
         {shard_records} records the positions after step {last} do not fit in 64 bits. Set steps to at most \
         {last}."
    )]
    TooManySteps {
        steps: u64,
        /// The most steps that this plan can number.
        last: u64,
        virtual_ranks: u32,
        per_rank: u32,
        shard_records: u64,
    },
}

impl Geometry {
    /// A data set of `records`, in shards of `shard_records`, for `virtual_ranks` with `per_rank` samples each in a step.
    /// Without [`with_mix`](Self::with_mix), the records of one shard at a time are shuffled.
    ///
    /// # Errors
    ///
    /// An argument that is 0.
    pub fn new(
        records: u64,
        shard_records: u64,
        virtual_ranks: u32,
        per_rank: u32,
    ) -> Result<Self, PlanError> {
        match (records, shard_records, virtual_ranks, per_rank) {
            (0, _, _, _) => Err(PlanError::NoRecords),
            (_, 0, _, _) => Err(PlanError::EmptyShards),
            (_, _, 0, _) => Err(PlanError::NoVirtualRanks),
            (_, _, _, 0) => Err(PlanError::EmptyBatch),
            _ => Ok(Self { records, shard_records, virtual_ranks, per_rank, mix: 1 }),
        }
    }

    /// The same geometry, with the records of `mix` shards of a virtual rank shuffled together.
    ///
    /// # Errors
    ///
    /// [`PlanError::NoMix`] if it is 0.
    pub fn with_mix(self, mix: u32) -> Result<Self, PlanError> {
        if mix == 0 { Err(PlanError::NoMix) } else { Ok(Self { mix, ..self }) }
    }

    /// Records in the data set, and so in an epoch.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Records in a full shard; the last shard may hold fewer.
    #[must_use]
    pub fn shard_records(&self) -> u64 {
        self.shard_records
    }

    /// V.
    #[must_use]
    pub fn virtual_ranks(&self) -> u32 {
        self.virtual_ranks
    }

    /// Samples of one virtual rank in a step.
    #[must_use]
    pub fn per_rank(&self) -> u32 {
        self.per_rank
    }

    /// Positions of a virtual rank whose records are shuffled together.
    #[must_use]
    pub fn mix(&self) -> u32 {
        self.mix
    }

    /// Shards with `shard_records` records.
    #[must_use]
    pub fn full_shards(&self) -> u64 {
        self.records / self.shard_records
    }

    /// Records of the short last shard; 0 if there is none.
    #[must_use]
    pub fn tail_records(&self) -> u64 {
        self.records % self.shard_records
    }

    /// N: shards, and so positions, in an epoch, with the short one.
    #[must_use]
    pub fn shards_per_epoch(&self) -> u64 {
        self.records.div_ceil(self.shard_records)
    }
}
