//! What one virtual rank adds to a sum.

use lsgan_spec::scalars::{self, MEANS_MAX, Scalar};
use lsgan_spec::{Half, VirtualRank};
use tch::Tensor;

/// What one virtual rank adds to a sum: all of it, or a piece.
pub(crate) struct Contribution {
    pub rank: VirtualRank,
    /// The parameter of the first gradient.
    pub first: usize,
    /// Those of consecutive parameters, all in one piece. f32 in our storage order on a CPU, as they come elsewhere.
    pub gradients: Vec<Tensor>,
    /// Comes with the last piece.
    pub end: Option<End>,
}

/// What one virtual rank adds to a sum besides gradients.
pub(crate) struct End {
    /// The batch-norm statistics of each pass, f32.
    pub statistics: Vec<Tensor>,
    /// The means of this half in the order of [`scalars::means_of`]; f32 without dimensions. The loss is the first.
    pub means: [Tensor; MEANS_MAX],
}

/// Where the numbers of a virtual rank go.
pub(crate) struct Sink<'a> {
    /// As they become ready; all together otherwise.
    pub in_pieces: bool,
    pub give: &'a mut dyn FnMut(Contribution),
}

impl Contribution {
    /// The end of one that is whole.
    pub fn end(&self) -> &End {
        self.end.as_ref().expect("only a sum that takes pieces gets them")
    }

    /// The tensors of one that is whole: the gradient of each parameter, then the statistics.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.gradients.iter().chain(&self.end().statistics)
    }
}

impl End {
    /// The means as numbers.
    pub fn means(&self) -> [f64; MEANS_MAX] {
        self.means.each_ref().map(|mean| mean.double_value(&[]))
    }
}

impl End {
    pub fn new(half: Half, statistics: Vec<Tensor>, means: &[(Scalar, Tensor)]) -> Self {
        Self { statistics, means: in_order(half, means) }
    }
}

/// The means as the header has them: 0 in the words that this half does not use.
fn in_order(half: Half, means: &[(Scalar, Tensor)]) -> [Tensor; MEANS_MAX] {
    let mut order = scalars::means_of(half);
    std::array::from_fn(|_| match order.next() {
        Some(scalar) => {
            let (_, mean) =
                means.iter().find(|(of, _)| *of == scalar).expect("each mean of a half is computed");
            mean.shallow_clone()
        }
        None => means[0].1.zeros_like(),
    })
}
