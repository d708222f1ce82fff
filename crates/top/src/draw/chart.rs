//! Curves: means as lines, and the extremes of columns with several rows as dots.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Paragraph};

use crate::draw::{block, coloured, faint};
use crate::rows::{Look, Series};
use crate::state::{Chosen, Pane, State};
use crate::words::short;

const COLOURS: [Color; 4] = [Color::Cyan, Color::Magenta, Color::Yellow, Color::Green];

type Points = Vec<(f64, f64)>;

/// One curve.
struct Curve {
    name: String,
    mean: Points,
    /// The least and the greatest of each column, where they are not the mean.
    extremes: Points,
}

pub(crate) fn draw(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let curves = state.look.as_ref().map_or_else(Vec::new, |look| curves(look, state.chosen()));
    let block = block(state, Pane::Curves, title(state));
    let Some((steps, values)) = bounds(&curves) else {
        let text = if state.look.is_some() { " nothing is measured yet" } else { "" };
        return frame.render_widget(Paragraph::new(text).block(block), area);
    };
    let mut datasets = Vec::new();
    for (index, curve) in curves.iter().enumerate() {
        let style = coloured(state, COLOURS[index % COLOURS.len()]);
        datasets.push(Dataset::default().marker(Marker::Braille).style(faint(state)).data(&curve.extremes));
        let line = Dataset::default().name(curve.name.as_str()).marker(Marker::Braille).style(style);
        datasets.push(line.graph_type(GraphType::Line).data(&curve.mean));
    }
    let middle = f64::midpoint(values[0], values[1]);
    let chart = Chart::new(datasets)
        .block(block)
        .x_axis(
            Axis::default()
                .style(faint(state))
                .bounds(steps)
                .labels([format!("{:.0}", steps[0]), format!("{:.0}", steps[1])]),
        )
        .y_axis(Axis::default().style(faint(state)).bounds(values).labels([
            short(values[0]),
            short(middle),
            short(values[1]),
        ]));
    frame.render_widget(chart, area);
}

fn title(state: &State) -> String {
    match state.chosen() {
        Chosen::Scalars(plot) => match state.zoom {
            0 => plot.title.clone(),
            zoom => format!("{}, the last 1/{} of the steps", plot.title, 1_u64 << zoom),
        },
        Chosen::Score(series) => series.name.clone(),
    }
}

fn curves(look: &Look, chosen: Chosen<'_>) -> Vec<Curve> {
    match chosen {
        Chosen::Scalars(plot) => plot.names.iter().filter_map(|name| scalar(look, name)).collect(),
        Chosen::Score(series) => vec![score(series)],
    }
}

fn scalar(look: &Look, name: &str) -> Option<Curve> {
    let curve = look.curves.scalars.get(name)?;
    let steps = &look.curves.steps;
    let extremes = points(steps, &curve.min).into_iter().chain(points(steps, &curve.max)).collect();
    Some(Curve { name: name.to_owned(), mean: points(steps, &curve.mean), extremes })
}

fn score(series: &Series) -> Curve {
    let mean = points(&series.steps, &series.values);
    let best =
        mean.iter().copied().filter(|(step, _)| series.best_step.is_some_and(|best| best as f64 == *step));
    Curve { name: "score".to_owned(), extremes: best.collect(), mean }
}

/// What is known at these steps.
fn points(steps: &[u64], values: &[Option<f64>]) -> Points {
    let known = |(step, value): (&u64, &Option<f64>)| Some((*step as f64, value.filter(|v| v.is_finite())?));
    steps.iter().zip(values).filter_map(known).collect()
}

/// The first and the last step, and the least and the greatest value; none without any. Neither is empty.
fn bounds(curves: &[Curve]) -> Option<([f64; 2], [f64; 2])> {
    let all = || curves.iter().flat_map(|curve| curve.mean.iter().chain(&curve.extremes));
    all().next()?;
    let over = |values: &mut dyn Iterator<Item = f64>| {
        let start = [f64::INFINITY, f64::NEG_INFINITY];
        let [least, most] = values.fold(start, |[least, most], value| [least.min(value), most.max(value)]);
        if least < most { [least, most] } else { [least - 0.5, most + 0.5] }
    };
    Some((over(&mut all().map(|point| point.0)), over(&mut all().map(|point| point.1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_all_points_and_are_never_empty() {
        let curve = |mean: Points, extremes: Points| Curve { name: String::new(), mean, extremes };
        assert_eq!(bounds(&[]), None);
        assert_eq!(bounds(&[curve(vec![], vec![])]), None);
        let two = [curve(vec![(1.0, 2.0), (9.0, 3.0)], vec![(1.0, -4.0)]), curve(vec![(5.0, 8.0)], vec![])];
        assert_eq!(bounds(&two), Some(([1.0, 9.0], [-4.0, 8.0])));
        assert_eq!(bounds(&[curve(vec![(3.0, 7.0)], vec![])]), Some(([2.5, 3.5], [6.5, 7.5])));
    }

    #[test]
    fn what_is_not_known_is_no_point() {
        let values = [Some(1.0), None, Some(f64::NAN), Some(4.0)];
        assert_eq!(points(&[0, 1, 2, 3], &values), [(0.0, 1.0), (3.0, 4.0)]);
    }
}
