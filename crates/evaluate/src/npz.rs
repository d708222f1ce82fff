//! Statistics in NumPy's `.npz`: `mu` `[features]` and `sigma` `[features, features]` in f64, as pytorch-fid (`--save-stats`)
//! and clean-fid write and read them. `samples`, where it is there, is how many samples they are of.

use std::path::Path;

use lsgan_metrics::Statistics;
use tch::{Kind, Tensor};

use crate::EvaluateError;
use crate::error::first_line;

/// The most features that a file may have: their covariances take 2 GiB.
const FEATURES_MAX: usize = 16_384;

/// Writes the file; one that is there is replaced.
///
/// # Errors
/// A place that cannot be written.
pub fn write(path: &Path, statistics: &Statistics) -> Result<(), EvaluateError> {
    let side = statistics.features() as i64;
    let mut arrays = vec![
        ("mu", Tensor::from_slice(statistics.mean())),
        ("sigma", Tensor::from_slice(&statistics.covariance()).view([side, side])),
    ];
    if let Some(samples) = statistics.samples {
        arrays.push(("samples", Tensor::from_slice(&[samples as i64])));
    }
    Tensor::write_npz(&arrays, path).map_err(|error| {
        refuse(path, format!("it cannot be written: {}. Name another place.", first_line(&error)))
    })
}

/// Reads the file.
///
/// # Errors
/// A file that cannot be read or holds something else.
pub fn read(path: &Path) -> Result<Statistics, EvaluateError> {
    let other = |problem: String| {
        refuse(
            path,
            format!(
                "{problem}. A file of statistics is an .npz with `mu` [features] and `sigma` [features, features], as \
                 pytorch-fid and clean-fid write it."
            ),
        )
    };
    let arrays = Tensor::read_npz(path).map_err(|error| other(first_line(&error)))?;
    let array = |name: &str| arrays.iter().find(|(is, _)| is == name).map(|(_, array)| array);
    let missing = |name: &str| other(format!("it has no `{name}`"));
    let mean = array("mu").ok_or_else(|| missing("mu"))?;
    let covariance = array("sigma").ok_or_else(|| missing("sigma"))?;
    let side = mean.numel();
    if mean.dim() != 1 || covariance.size() != [side as i64; 2] || side > FEATURES_MAX {
        return Err(other(format!("`mu` is {:?} and `sigma` is {:?}", mean.size(), covariance.size())));
    }
    let numbers = |array: &Tensor| {
        let numbers = array.to_kind(Kind::Double).contiguous().flatten(0, -1);
        Vec::<f64>::try_from(numbers).map_err(|error| other(first_line(&error)))
    };
    let samples =
        array("samples").and_then(|samples| (samples.numel() == 1).then(|| samples.int64_value(&[0])));
    let samples = samples.and_then(|samples| usize::try_from(samples).ok());
    Ok(Statistics::from_parts(samples, numbers(mean)?, &numbers(covariance)?)?)
}

fn refuse(path: &Path, problem: String) -> EvaluateError {
    EvaluateError::Statistics { path: path.to_owned(), problem }
}
