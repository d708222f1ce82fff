//! Flat tensors: all parameters of a network are views into one contiguous tensor, and so are its gradients,
//! Adam's moments and the moving average.
//!
//! A [`Layout`] says where each named tensor lies. Order is the order of declaration; every tensor starts at a
//! multiple of [`ALIGNMENT`] numbers, and the gaps are always zero. Tensors of four dimensions are stored
//! channels-last, the memory order that the CPU's convolutions want, and exported in PyTorch's order.

use crate::TrainError;

/// Every tensor starts at a multiple of this many numbers: 64 bytes, one cache line and one AVX-512 register.
pub const ALIGNMENT: usize = 16;

/// Where one named tensor lies in a flat one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// PyTorch's state-dict name, as `main.0.weight`.
    pub name: String,
    /// PyTorch's shape, as `[out, in, height, width]`.
    pub shape: Vec<usize>,
    /// First number in the flat tensor.
    pub offset: usize,
}

impl Entry {
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[must_use]
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }

    /// Its shape as libtorch wants it.
    #[must_use]
    pub fn size(&self) -> Vec<i64> {
        self.shape.iter().map(|&n| n as i64).collect()
    }

    /// Its strides, in numbers: channels-last for four dimensions, row-major otherwise.
    #[must_use]
    pub fn strides(&self) -> Vec<i64> {
        strides(&self.size())
    }
}

/// Strides of our storage order, in numbers: channels-last for four dimensions, row-major otherwise.
#[must_use]
pub fn strides(size: &[i64]) -> Vec<i64> {
    if let &[_, c, h, w] = size {
        return vec![h * w * c, 1, w * c, c];
    }
    let mut strides = vec![1; size.len()];
    for i in (1..size.len()).rev() {
        strides[i - 1] = strides[i] * size[i];
    }
    strides
}

/// Where each named tensor lies in a flat one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    entries: Vec<Entry>,
    len: usize,
}

impl Layout {
    /// Lays out tensors in the order of declaration. A name that comes twice is an error, never renamed.
    pub fn new(declared: impl IntoIterator<Item = (String, Vec<usize>)>) -> Result<Self, TrainError> {
        let mut layout = Self::default();
        for (name, shape) in declared {
            if layout.entries.iter().any(|entry| entry.name == name) {
                return Err(TrainError::NameTwice { name });
            }
            let entry = Entry { name, shape, offset: layout.len };
            layout.len = (entry.offset + entry.len()).next_multiple_of(ALIGNMENT);
            layout.entries.push(entry);
        }
        Ok(layout)
    }

    /// The tensors, in the order of declaration.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Length of the flat tensor, gaps included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many numbers the tensors have, gaps not counted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.iter().map(Entry::len).sum()
    }
}

/// Copies a tensor out of a flat one into PyTorch's row-major order.
#[must_use]
pub fn to_row_major(entry: &Entry, flat: &[f32]) -> Vec<f32> {
    let stored = &flat[entry.range()];
    let mut out = vec![0.0; stored.len()];
    reorder(entry, |row_major, in_store| out[row_major] = stored[in_store]);
    out
}

/// Copies a tensor in PyTorch's row-major order into a flat one.
pub fn from_row_major(entry: &Entry, values: &[f32], flat: &mut [f32]) {
    let stored = &mut flat[entry.range()];
    assert_eq!(values.len(), stored.len(), "{} has another length", entry.name);
    reorder(entry, |row_major, in_store| stored[in_store] = values[row_major]);
}

/// Calls `pair(index in row-major order, index in our storage)` for every number of a tensor.
fn reorder(entry: &Entry, mut pair: impl FnMut(usize, usize)) {
    let &[n, c, h, w] = entry.shape.as_slice() else {
        return (0..entry.len()).for_each(|i| pair(i, i));
    };
    let plane = h * w;
    for image in 0..n {
        for place in 0..plane {
            for channel in 0..c {
                pair((image * c + channel) * plane + place, (image * plane + place) * c + channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_an_error() {
        let declared = [("main.0.weight".to_owned(), vec![2]), ("main.0.weight".to_owned(), vec![3])];
        assert!(
            matches!(Layout::new(declared), Err(TrainError::NameTwice { name }) if name == "main.0.weight")
        );
    }

    #[test]
    fn tensors_lie_in_the_order_of_declaration_each_on_a_cache_line() {
        let layout =
            Layout::new([("a".to_owned(), vec![3]), ("b".to_owned(), vec![2, 2, 3, 3])]).expect("unique");
        let offsets: Vec<_> = layout.entries().iter().map(|entry| entry.offset).collect();
        assert_eq!((offsets, layout.len(), layout.count()), (vec![0, 16], 64, 39));
    }

    #[test]
    fn row_major_and_channels_last_are_inverse_and_agree_with_the_strides() {
        let layout = Layout::new([("w".to_owned(), vec![2, 3, 4, 5])]).expect("unique");
        let entry = &layout.entries()[0];
        let values: Vec<f32> = (0..120).map(|i| i as f32).collect();
        let mut flat = vec![0.0; layout.len()];
        from_row_major(entry, &values, &mut flat);
        assert_eq!(to_row_major(entry, &flat), values);
        let at: i64 = entry.strides().iter().zip([1, 2, 3, 4]).map(|(stride, index)| stride * index).sum();
        assert_eq!(flat[at as usize], values[60 + 2 * 20 + 3 * 5 + 4]);
    }
}
