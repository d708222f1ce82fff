//! Scalars of several runs over the steps, drawn on top of each other.

use std::path::Path;

use lsgan_console::Failure;
use lsgan_figures::{Axis, Chart, Corner, Figure, Mark, Series, Table};
use lsgan_observe::Hub;
use lsgan_observe::curves::Ask;
use lsgan_spec::scalars::Scalar;
use serde_json::Value;

use super::run::Run;
use crate::place::waiting;

/// Points of a line: a chart has about as many pixels.
const PIXELS: u64 = 360;
/// Colours of the palette; runs beyond are drawn with dashes.
const COLOURS: usize = 8;

/// Refuses a name of another format.
///
/// # Errors
/// Bad input.
pub fn check_svg(path: &Path) -> Result<(), Failure> {
    match path.extension() {
        Some(extension) if !extension.eq_ignore_ascii_case("svg") => Err(Failure::bad_input(format!(
            "--svg {}: curves are written as SVG, and .{} is another format. Name it {}.",
            path.display(),
            extension.display(),
            path.with_extension("svg").display()
        ))),
        _ => Ok(()),
    }
}

/// A chart for each scalar with a line for each run; the area around a line has the extremes of the steps that share a pixel.
///
/// # Errors
/// A journal that cannot be read, or runs without a row of these scalars.
pub fn figure(runs: &[Run], wanted: &[Scalar]) -> Result<Figure, Failure> {
    let read = runs.iter().map(|run| read(run, wanted)).collect::<Result<Vec<_>, _>>()?;
    let charts: Vec<_> = wanted.iter().filter_map(|scalar| chart(*scalar, runs, &read)).collect();
    if charts.is_empty() {
        let names: Vec<_> = wanted.iter().map(|scalar| scalar.name).collect();
        return Err(Failure::failed(format!(
            "no run has a row of {} yet: there is nothing to draw. Ask again when there are steps, or name others with --names.",
            names.join(", ")
        )));
    }
    Ok(Figure { columns: charts.len().clamp(1, 2), charts, numbers: Table::default(), notes: vec![] })
}

/// The curves of a run, as docs/observe.md has them.
fn read(run: &Run, wanted: &[Scalar]) -> Result<Value, Failure> {
    let names = wanted.iter().map(|scalar| scalar.name.to_owned()).collect();
    let ask = Ask { names, from: 0, until: None, pixels: PIXELS, window: 0 };
    // It keeps what takes long to read for the next time.
    let found = Hub::new(vec![run.dir.clone()]).runs().into_iter().next();
    let found = found.ok_or_else(|| Failure::failed(format!("{}: the run has gone", run.dir.display())))?;
    Ok(waiting(|| found.curves(&ask))?)
}

/// None where no run has it.
fn chart(scalar: Scalar, runs: &[Run], read: &[Value]) -> Option<Chart> {
    let curves = runs.iter().zip(read).enumerate();
    let series: Vec<_> =
        curves.flat_map(|(index, (run, curves))| series(&run.label, index, scalar, curves)).collect();
    let all = || series.iter().flat_map(|series| &series.points);
    let last = all().map(|[step, _]| *step).fold(1.0, f64::max);
    let title = if scalar.unit.is_empty() {
        scalar.name.to_owned()
    } else {
        format!("{}, {}", scalar.name, scalar.unit)
    };
    Some(Chart {
        x: Axis::new("step", 0.0, last),
        y: Axis::around(&title, all().map(|[_, value]| *value))?,
        title,
        series,
        legend: Some(Corner::UpperRight),
    })
}

/// The means of a run's columns of pixels as a line, in the area of their extremes; nothing where there are none.
fn series(name: &str, index: usize, scalar: Scalar, curves: &Value) -> Vec<Series> {
    let steps = curves["steps"].as_array();
    let of = |which: &str| -> Vec<[f64; 2]> {
        let values = curves["scalars"][scalar.name][which].as_array();
        let pairs = steps.into_iter().flatten().zip(values.into_iter().flatten());
        pairs.filter_map(|(step, value)| Some([step.as_f64()?, value.as_f64()?])).collect()
    };
    let (mean, least, most) = (of("mean"), of("min"), of("max"));
    if mean.is_empty() {
        return vec![];
    }
    let mark = if index < COLOURS { Mark::Line } else { Mark::Dashes };
    let line = Series::new(name, index % COLOURS, mark, mean);
    if least.is_empty() {
        return vec![line];
    }
    let area = most.into_iter().chain(least.into_iter().rev()).collect();
    vec![Series::new(&format!("{name}, least to most"), index % COLOURS, Mark::Area, area), line]
}

#[cfg(test)]
mod tests {
    use lsgan_spec::scalars;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_a_line_in_the_area_of_its_extremes_and_gaps_are_left_out() {
        let curves = json!({
            "steps": [1, 3, 5],
            "scalars": { "loss_d": { "mean": [1.0, null, 2.0], "min": [0.5, null, 1.5], "max": [1.5, null, 2.5] } },
        });
        let found = series("a", 9, scalars::LOSS_D, &curves);
        let [area, line] = &found[..] else { panic!("{found:?}") };
        assert_eq!((line.mark, line.colour), (Mark::Dashes, 1));
        assert_eq!(line.points, [[1.0, 1.0], [5.0, 2.0]]);
        assert_eq!(area.points, [[1.0, 1.5], [5.0, 2.5], [5.0, 1.5], [1.0, 0.5]]);
        assert!(series("a", 0, scalars::LOSS_G, &curves).is_empty());
    }

    #[test]
    fn another_format_than_svg_is_refused_with_the_name_to_take() {
        for name in ["a.svg", "a.SVG", "a"] {
            assert!(check_svg(Path::new(name)).is_ok(), "{name}");
        }
        let refused = check_svg(Path::new("x/a.png")).expect_err("another format");
        assert!(refused.text.contains(".png is another format. Name it x/a.svg."), "{}", refused.text);
    }
}
