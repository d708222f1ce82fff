//! The arguments of kernels, field by field as in `native/kernels`, which says what each is.

use std::ptr;

use lsgan_spec::scalars::MEANS_MAX;
use tch::{Kind, Tensor};

use crate::header::ControlWord;
use crate::word::DeviceWordKind;

/// Arguments that C++ reads as they are.
///
/// # Safety
/// The layout is that of the structure of this name in `native/kernels`.
pub(crate) unsafe trait Arguments: Copy {}

/// Tensors of a contribution that one call of a kernel takes.
pub(crate) const PARTS_MAX: usize = 32;
/// Threads of a CPU's loop, or of a GPU's block, share so many words or numbers.
pub(crate) const WORDS_OF_BLOCK: usize = 1024;

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct BeginArgs {
    pub words: Address,
    pub guard: Address,
    pub value: i64,
    pub wishes: [i64; ControlWord::ALL.len()],
    pub last: u64,
    pub head: u32,
    pub wishes_at: u32,
    pub word: WordKind,
    pub unused: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PartArgs {
    pub numbers: Address,
    pub sizes: [i32; 4],
    pub strides: [i32; 4],
    pub is_bf16: i32,
    pub is_dense: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct AddArgs {
    pub parts: [PartArgs; PARTS_MAX],
    pub pieces: Address,
    pub found: Address,
    pub words: Address,
    pub factors: Address,
    pub loss: Address,
    pub factor: f64,
    pub largest: f32,
    pub limit: f32,
    pub first_part: u32,
    pub word: WordKind,
    pub is_first: i32,
    pub unused: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct EndRankArgs {
    pub words: Address,
    pub guard: Address,
    pub found: Address,
    pub means: [Address; MEANS_MAX],
    pub last: u64,
    pub limit: f32,
    pub mark_at: u32,
    pub mark_shift: u32,
    pub metrics_at: u32,
    pub misfits_at: u32,
    pub virtual_ranks: u32,
    pub word: WordKind,
    pub unused: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct NarrowArgs {
    pub wide: Address,
    pub narrow: Address,
    pub head: u32,
    pub len: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DecideArgs {
    pub sound: Address,
    pub applied: Address,
    pub flag: Address,
    pub head: Address,
    pub last: Address,
    pub complete: Address,
    pub guard: i64,
    pub header_at: u32,
    pub marks: u32,
    pub misfits_at: u32,
    pub word: WordKind,
    pub last_word: WordKind,
    pub checks_misfits: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct BitsArgs {
    pub factors: Address,
    pub units: Address,
    pub correction: f32,
    pub virtual_ranks: f32,
    pub finest: i32,
    pub room: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ChooseArgs {
    pub spans: Address,
    pub second_moments: Address,
    pub bits: BitsArgs,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct SumArgs {
    pub spans: Address,
    pub words: Address,
    pub units: Address,
    pub word: WordKind,
    pub blocks: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct SquaresArgs {
    pub sum: SumArgs,
    pub squares: Address,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ClipArgs {
    pub squares: Address,
    pub factor: Address,
    pub norm_max: f64,
    pub norm_epsilon: f64,
    pub blocks: u32,
    pub unused: i32,
}

/// How an optimizer updates a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Rule {
    Adam = 0,
    RmsProp = 1,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct OptimizerArgs {
    pub rule: Rule,
    pub step_size: f32,
    pub mix1: f32,
    pub keep2: f32,
    pub mix2: f32,
    pub correction2: f32,
    pub epsilon: f32,
    pub kept: f32,
    pub momentum: f32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct UpdateArgs {
    pub sound: Address,
    pub sum: SumArgs,
    pub bits: BitsArgs,
    pub batch_statistics: Address,
    pub weights: Address,
    pub first_moments: Address,
    pub second_moments: Address,
    pub statistics: Address,
    pub average_weights: Address,
    pub average_statistics: Address,
    pub kept: Address,
    pub kept_from: Address,
    pub clip: Address,
    pub statistics_len: u32,
    pub mixed: u32,
    pub passes: u32,
    pub statistics_word: WordKind,
    pub momentum: f32,
    pub share: f32,
    pub decay: f32,
    pub decay_share: f32,
    pub optimizer: OptimizerArgs,
}

macro_rules! arguments {
    ($($args:ty),* $(,)?) => {
        // SAFETY: each is laid out as C++ lays it out, with the same fields; `Kernels::queue` checks the length on a CPU.
        $(unsafe impl Arguments for $args {})*
    };
}

arguments!(
    BeginArgs,
    AddArgs,
    EndRankArgs,
    NarrowArgs,
    DecideArgs,
    ChooseArgs,
    SquaresArgs,
    ClipArgs,
    UpdateArgs
);

/// A place in a device's memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Address(*mut std::ffi::c_void);

impl Address {
    pub const NULL: Self = Self(ptr::null_mut());

    /// Of a tensor's first number. The tensor must have dense memory from there on.
    pub fn of(tensor: &Tensor) -> Self {
        Self(tensor.data_ptr())
    }

    /// Of number `at` of a tensor in one dimension.
    pub fn within(tensor: &Tensor, at: usize) -> Self {
        let bytes = at * tensor.kind().elt_size_in_bytes();
        Self(tensor.data_ptr().cast::<u8>().wrapping_add(bytes).cast())
    }
}

/// What the words of a sum are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum WordKind {
    Fixed = 0,
    Float = 1,
    Narrow = 2,
}

impl From<DeviceWordKind> for WordKind {
    fn from(kind: DeviceWordKind) -> Self {
        match kind {
            DeviceWordKind::Wide => Self::Fixed,
            DeviceWordKind::Fast => Self::Float,
            DeviceWordKind::Narrow => Self::Narrow,
        }
    }
}

impl BitsArgs {
    /// All numbers have the same last bit.
    pub const NONE: Self = Self {
        factors: Address::NULL,
        units: Address::NULL,
        correction: 1.0,
        virtual_ranks: 1.0,
        finest: 0,
        room: 0,
    };
}

impl PartArgs {
    pub const NONE: Self =
        Self { numbers: Address::NULL, sizes: [1; 4], strides: [0; 4], is_bf16: 0, is_dense: 1 };

    /// A tensor whose numbers are counted as memory with the strides `order` has them.
    pub fn new(tensor: &Tensor, order: &[i64]) -> Self {
        let (size, strides) = (tensor.size(), tensor.stride());
        let mut sides: Vec<_> = (0..size.len()).filter(|&side| size[side] > 1).collect();
        sides.sort_by_key(|&side| std::cmp::Reverse(order[side]));
        assert!(sides.len() <= 4, "no parameter has more than four dimensions");
        let (mut part, first) = (Self::NONE, 4 - sides.len());
        for (at, &side) in (first..).zip(&sides) {
            part.sizes[at] = i32::try_from(size[side]).expect("a side is short");
            part.strides[at] = i32::try_from(strides[side]).expect("a tensor is in one memory");
        }
        let is_bf16 = match tensor.kind() {
            Kind::BFloat16 => true,
            Kind::Float => false,
            other => panic!("a gradient is f32 or bf16, not {other:?}"),
        };
        let is_dense = sides.iter().all(|&side| strides[side] == order[side]);
        Self { numbers: Address::of(tensor), is_bf16: is_bf16.into(), is_dense: is_dense.into(), ..part }
    }
}
