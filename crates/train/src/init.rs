//! Initial weights: a pure function of (seed, parameter name).

use crate::flat::{Entry, Layout, from_row_major};
use crate::noise::Stream;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every number is this one.
    Constant(f32),
    /// Independent N(mean, std²).
    Normal { mean: f32, std: f32 },
    /// Orthonormal rows (or columns, where there are fewer of them) times `gain`: Saxe et al. 2014,
    /// arXiv 1312.6120.
    Orthogonal { gain: f64 },
}

/// Writes the initial values of every tensor of `layout` into `flat`. `network` tells G's names from D's.
pub fn initialise(seed: u64, network: &str, layout: &Layout, inits: &[Init], flat: &mut [f32]) {
    assert_eq!(layout.entries().len(), inits.len(), "every parameter of {network} says how it starts");
    for (entry, init) in layout.entries().iter().zip(inits) {
        from_row_major(entry, &values(seed, network, entry, *init), flat);
    }
}

fn values(seed: u64, network: &str, entry: &Entry, init: Init) -> Vec<f32> {
    let mut stream = Stream::of_parameter(seed, network, &entry.name);
    match init {
        Init::Constant(value) => vec![value; entry.len()],
        Init::Normal { mean, std } => {
            let mut out = vec![0.0; entry.len()];
            stream.fill_normal(&mut out);
            out.iter_mut().for_each(|x| *x = mean + std * *x);
            out
        }
        Init::Orthogonal { gain } => {
            let rows = entry.shape[0];
            orthogonal(&mut stream, rows, entry.len() / rows, gain)
        }
    }
}

/// A `rows × columns` matrix with orthonormal rows or columns, times `gain`, row-major.
///
/// The shorter side's vectors are drawn from N(0, I) and made orthonormal by modified Gram-Schmidt, twice
/// ("twice is enough"), in f64; that is the Q of a QR decomposition with a positive diagonal of R, so it is
/// uniform over the orthogonal matrices, and the same bits on every host.
fn orthogonal(stream: &mut Stream, rows: usize, columns: usize, gain: f64) -> Vec<f32> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let mut drawn = vec![0.0_f32; count * length];
    stream.fill_normal(&mut drawn);
    let mut vectors: Vec<Vec<f64>> =
        drawn.chunks(length).map(|vector| vector.iter().map(|&x| f64::from(x)).collect()).collect();
    for i in 0..count {
        let (done, rest) = vectors.split_at_mut(i);
        let vector = &mut rest[0];
        for _ in 0..2 {
            for earlier in done.iter() {
                let share = dot(vector, earlier);
                vector.iter_mut().zip(earlier).for_each(|(x, e)| *x -= share * e);
            }
        }
        let norm = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    let at =
        |row: usize, column: usize| if rows <= columns { vectors[row][column] } else { vectors[column][row] };
    (0..rows * columns).map(|i| (gain * at(i / columns, i % columns)) as f32).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, shape: &[usize]) -> Entry {
        Entry { name: name.to_owned(), shape: shape.to_vec(), offset: 0 }
    }

    #[test]
    fn values_depend_on_seed_network_and_name_only() {
        let init = Init::Normal { mean: 0.0, std: 1.0 };
        let of = |seed, network, name| values(seed, network, &entry(name, &[8]), init);
        let reference = of(1, "generator", "main.0.weight");
        assert_eq!(reference, of(1, "generator", "main.0.weight"));
        assert_ne!(reference, of(2, "generator", "main.0.weight"));
        assert_ne!(reference, of(1, "discriminator", "main.0.weight"));
        assert_ne!(reference, of(1, "generator", "main.1.weight"));
    }

    #[test]
    fn orthogonal_matrices_have_orthonormal_short_sides_times_the_gain() {
        for (rows, columns) in [(128, 256), (256, 128), (2, 128), (1, 7), (5, 5)] {
            let w = values(3, "generator", &entry("w", &[rows, columns]), Init::Orthogonal { gain: 1.4 });
            let short = rows.min(columns);
            let at = |vector: usize, i: usize| {
                f64::from(if rows <= columns { w[vector * columns + i] } else { w[i * columns + vector] })
            };
            for a in 0..short {
                for b in 0..short {
                    let product: f64 = (0..rows.max(columns)).map(|i| at(a, i) * at(b, i)).sum();
                    let wanted = if a == b { 1.4 * 1.4 } else { 0.0 };
                    assert!((product - wanted).abs() < 1e-6, "{rows}x{columns}: {a}·{b} is {product}");
                }
            }
        }
    }
}
