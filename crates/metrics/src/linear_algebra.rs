//! Products and decompositions, on `faer`, each on one thread: how a product is split among threads may change its last bits.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

use crate::MetricError;

/// Samples as columns: `[features, samples]` in f64.
pub struct Columns(Mat<f64>);

impl Columns {
    /// Of these rows, all of one length.
    pub fn new<'a>(features: usize, rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Self {
        let mut columns = Mat::zeros(features, rows.len());
        for (column, row) in columns.col_iter_mut().zip(rows) {
            for (value, &of_row) in
                column.try_as_col_major_mut().expect("columns of a new matrix").iter_mut().zip(row)
            {
                *value = f64::from(of_row);
            }
        }
        Self(columns)
    }

    /// The same with `mean` taken from each.
    pub fn less(mut self, mean: &[f64]) -> Self {
        for column in self.0.col_iter_mut() {
            for (value, mean) in
                column.try_as_col_major_mut().expect("columns of a new matrix").iter_mut().zip(mean)
            {
                *value -= mean;
            }
        }
        self
    }

    /// Samples.
    pub fn len(&self) -> usize {
        self.0.ncols()
    }

    /// Σ x², of each.
    pub fn squares(&self) -> Vec<f64> {
        self.0.col_iter().map(|column| column.squared_norm_l2()).collect()
    }

    /// x · y of the samples x of a range and all y of `others`: `out` has a column for each x.
    pub fn products(&self, range: Range<usize>, others: &Self, out: &mut Product) {
        out.0.resize_with(others.len(), range.len(), |_, _| 0.0);
        let some = self.0.subcols(range.start, range.len());
        matmul(out.0.as_mut(), Accum::Replace, others.0.transpose(), some, 1.0, Par::Seq);
    }

    /// x · y of all pairs of its own, of which only those with the first sample before the second, or itself, are computed.
    pub fn own_products(&self, out: &mut Product) {
        out.0.resize_with(self.len(), self.len(), |_, _| 0.0);
        triangular::matmul(
            out.0.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Replace,
            self.0.transpose(),
            BlockStructure::Rectangular,
            self.0.as_ref(),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
    }

    /// Adds Σ x·xᵀ over all samples to the lower triangle of `[features, features]`.
    pub fn add_scatter(&self, to: &mut Square) {
        triangular::matmul(
            to.0.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            self.0.as_ref(),
            BlockStructure::Rectangular,
            self.0.transpose(),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
    }
}

/// Products of pairs; kept for its memory.
pub struct Product(Mat<f64>);

impl Product {
    pub fn new() -> Self {
        Self(Mat::new())
    }

    /// The products with one sample.
    pub fn of(&self, sample: usize) -> &[f64] {
        self.0.col(sample).try_as_col_major().expect("columns of a whole matrix").as_slice()
    }
}

/// A symmetric matrix. Both triangles are kept equal by [`Square::scaled`].
#[derive(Clone)]
pub struct Square(Mat<f64>);

impl Square {
    pub fn zeros(side: usize) -> Self {
        Self(Mat::zeros(side, side))
    }

    /// Of all its numbers; symmetric, so that rows are columns.
    pub fn of(side: usize, values: &[f64]) -> Self {
        Self(MatRef::from_column_major_slice(values, side, side).to_owned())
    }

    /// What was added to its lower triangle, times `factor`, in both.
    pub fn scaled(mut self, factor: f64) -> Self {
        let side = self.0.nrows();
        for column in 0..side {
            for row in column..side {
                let value = self.0[(row, column)] * factor;
                self.0[(row, column)] = value;
                self.0[(column, row)] = value;
            }
        }
        self
    }

    /// All its numbers, row by row.
    pub fn values(&self) -> Vec<f64> {
        self.0.col_iter().flat_map(|column| column.iter().copied().collect::<Vec<_>>()).collect()
    }

    pub fn trace(&self) -> f64 {
        self.0.diagonal().column_vector().iter().sum()
    }

    /// L of self = L·Lᵀ, `[side, rank]`: eigenvectors times the roots of their eigenvalues. An eigenvalue that is not above
    /// side·ε of the largest is rounding, and left out.
    pub fn root(&self) -> Result<Root, MetricError> {
        let eigen = self.0.self_adjoint_eigen(Side::Lower);
        let eigen = eigen.map_err(|_| MetricError::NotConverged { what: "eigenvalues of a covariance" })?;
        let values = eigen.S().column_vector();
        let largest = values.iter().copied().fold(0.0, f64::max);
        let least = largest * f64::EPSILON * self.0.nrows() as f64;
        // In ascending order.
        let first = values.iter().position(|&value| value > least).unwrap_or(values.nrows());
        let mut root = eigen.U().subcols(first, values.nrows() - first).to_owned();
        for (index, column) in root.col_iter_mut().enumerate() {
            let scale = values[first + index].sqrt();
            column
                .try_as_col_major_mut()
                .expect("columns of a new matrix")
                .iter_mut()
                .for_each(|value| *value *= scale);
        }
        Ok(Root(root))
    }
}

/// L of a covariance L·Lᵀ.
pub struct Root(Mat<f64>);

impl Root {
    /// The sum of the singular values of Lᵀ·M, which is the trace of √(L·Lᵀ·M·Mᵀ).
    pub fn trace_of_root_of_product(&self, other: &Self) -> Result<f64, MetricError> {
        let mut product: Mat<f64> = Mat::zeros(self.0.ncols(), other.0.ncols());
        if product.nrows() == 0 || product.ncols() == 0 {
            return Ok(0.0);
        }
        let out: MatMut<f64> = product.as_mut();
        matmul(out, Accum::Replace, self.0.transpose(), other.0.as_ref(), 1.0, Par::Seq);
        let values = product.singular_values();
        let values =
            values.map_err(|_| MetricError::NotConverged { what: "singular values of two covariances" })?;
        Ok(values.iter().sum())
    }
}
