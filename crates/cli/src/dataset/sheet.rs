//! A sheet of samples that are spread over a data set.

use lsgan_console::Failure;
use lsgan_data::tools::spread_over;
use lsgan_data::{RecordError, SampleShape, Source};
use lsgan_spec::{DataSpec, Grid, Source as Spec};

/// Points of a density plot for each place of the grid, as in the pictures of a run.
const POINTS_PER_PLACE: u32 = 1024;

/// As PNG: as many samples as the grid has places, in the order of their records, or a density plot of points. A record that
/// does not decode is black.
pub fn sheet(source: &dyn Source, spec: &DataSpec, grid: Grid) -> Result<Vec<u8>, Failure> {
    let shape = source.sample_shape();
    let places = match shape {
        SampleShape::Image { .. } => grid.count(),
        SampleShape::Point2 => grid.count() * POINTS_PER_PLACE,
    };
    let records = spread_over(source.len(), places.into());
    let mut samples = vec![-1.0; records.len() * source.sample_len()];
    for (record, sample) in records.iter().zip(samples.chunks_exact_mut(source.sample_len())) {
        match source.read(*record, sample) {
            Ok(()) => {}
            Err(RecordError::Undecodable { .. }) => sample.fill(-1.0),
            Err(error) => return Err(error.into()),
        }
    }
    let png = match (shape, &spec.source) {
        (SampleShape::Image { size, channels }, _) => lsgan_pictures::grid(&samples, grid, size, channels),
        (SampleShape::Point2, Spec::Gaussian(gaussian)) => {
            lsgan_pictures::density(&samples, &gaussian.modes.centres(), gaussian.sigma)
        }
        (SampleShape::Point2, _) => lsgan_pictures::density(&samples, &[], 1.0),
    };
    Ok(png?)
}
