//! Named tensors on the host: how training and snapshots hand a state to each other.

/// Tensors that lie in one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// 1 to 100 of a-z, 0-9 and _, such as `generator`: the file's name without its ending.
    pub name: String,
    /// Names are unique.
    pub tensors: Vec<NamedTensor>,
}

/// A tensor with its name in a PyTorch state dict.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Any text but `__metadata__`, which the safetensors format keeps for itself.
    pub name: String,
    /// Sizes of the dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, the last dimension fastest.
    pub data: TensorData,
}

/// The elements of a tensor. Two are equal when their bits are: a NaN equals itself, 0 and −0 differ.
#[derive(Clone, Debug)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit integers: counters.
    I64(Vec<i64>),
}

impl Part {
    /// The tensor of this name, if there is one.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

impl NamedTensor {
    /// A tensor of 32-bit floats.
    #[must_use]
    pub fn f32(name: impl Into<String>, shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        Self { name: name.into(), shape: shape.into(), data: TensorData::F32(data) }
    }

    /// A tensor of 64-bit integers.
    #[must_use]
    pub fn i64(name: impl Into<String>, shape: impl Into<Vec<usize>>, data: Vec<i64>) -> Self {
        Self { name: name.into(), shape: shape.into(), data: TensorData::I64(data) }
    }
}

impl TensorData {
    /// How many elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::I64(data) => data.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for TensorData {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
            (Self::I64(a), Self::I64(b)) => a == b,
            (Self::F32(_), Self::I64(_)) | (Self::I64(_), Self::F32(_)) => false,
        }
    }
}
