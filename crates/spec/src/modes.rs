//! Where the modes of a 2-D mixture lie: the points, the plots and who counts the modes that G found take it from here.

use std::f64::consts::TAU;

use crate::Modes;

impl Modes {
    /// The centres, in the plane's units. A ring's first lies to the right of the origin and the others
    /// follow against the clock; a grid's and a line's come from left to right, a grid's lowest row first.
    ///
    /// The sine is the `libm` crate's: the system's rounds differently from one version to the next, and two workers
    /// would train on different bits.
    #[must_use]
    pub fn centres(&self) -> Vec<[f64; 2]> {
        match *self {
            Self::Ring { count, radius } => (0..count)
                .map(|mode| {
                    let (sin, cos) = libm::sincos(TAU * f64::from(mode) / f64::from(count));
                    [radius * cos, radius * sin]
                })
                .collect(),
            Self::Grid { columns, rows, spacing } => (0..rows)
                .flat_map(|row| {
                    let y = from_middle(row, rows, spacing);
                    (0..columns).map(move |column| [from_middle(column, columns, spacing), y])
                })
                .collect(),
            Self::Line { count, spacing } => {
                (0..count).map(|mode| [from_middle(mode, count, spacing), 0.0]).collect()
            }
        }
    }
}

/// Of `count` places that lie `spacing` apart, the one at `index`, from their middle.
fn from_middle(index: u32, count: u32, spacing: f64) -> f64 {
    (f64::from(index) - f64::from(count - 1) / 2.0) * spacing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_of_four_lies_on_the_axes() {
        let centres = Modes::Ring { count: 4, radius: 2.0 }.centres();
        for (found, wanted) in centres.iter().zip([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]]) {
            let near = (found[0] - wanted[0]).abs() < 1e-12 && (found[1] - wanted[1]).abs() < 1e-12;
            assert!(near, "{found:?}");
        }
    }

    #[test]
    fn a_grid_and_a_line_have_their_middle_at_the_origin() {
        let grid = Modes::Grid { columns: 3, rows: 2, spacing: 2.0 }.centres();
        assert_eq!(grid, [[-2.0, -1.0], [0.0, -1.0], [2.0, -1.0], [-2.0, 1.0], [0.0, 1.0], [2.0, 1.0]]);
        assert_eq!(Modes::Grid { columns: 1, rows: 1, spacing: 3.0 }.centres(), [[0.0, 0.0]]);
        let line = Modes::Line { count: 4, spacing: 0.5 }.centres();
        assert_eq!(line, [[-0.75, 0.0], [-0.25, 0.0], [0.25, 0.0], [0.75, 0.0]]);
    }
}
