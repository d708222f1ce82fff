//! What a figure consists of.

use std::fmt::Write as _;

/// A figure: its charts, its numbers, and what they say.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Row after row, each from left to right.
    pub charts: Vec<Chart>,
    /// Charts in a row.
    pub columns: usize,
    /// The numbers that the text is about.
    pub numbers: Table,
    /// A sentence each.
    pub notes: Vec<String>,
}

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// Drawn in this order.
    pub series: Vec<Series>,
    /// Where the names of the series stand; none for a chart without them.
    pub legend: Option<Corner>,
}

/// An axis. What lies outside of its range is not drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What is measured, with its unit.
    pub title: String,
    /// Its lower end. Where `is_log`, the power of ten.
    pub from: f64,
    /// Its upper end, likewise.
    pub to: f64,
    /// Whether it is logarithmic.
    pub is_log: bool,
}

/// A corner of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corner {
    /// At the top, on the left.
    UpperLeft,
    /// At the top, on the right.
    UpperRight,
    /// At the bottom, on the left.
    LowerLeft,
    /// At the bottom, on the right.
    LowerRight,
}

/// Points that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend and in the CSV.
    pub name: String,
    /// Which colour of the palette; the same number in two charts means the same thing.
    pub colour: usize,
    /// How its points are drawn.
    pub mark: Mark,
    /// `[x, y]`, in the axes' units, not as logarithms.
    pub points: Vec<[f64; 2]>,
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As a line through them.
    Line,
    /// As a line of dashes.
    Dashes,
    /// As a dot each.
    Dots,
    /// As a small dot each, half transparent.
    Dust,
    /// As a cross each.
    Crosses,
    /// As arrows: from the first to the second, from the third to the fourth, …
    Arrows,
    /// As the area between two lines: the upper one from left to right, then the lower one from right to left.
    Area,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The names of the columns.
    pub header: Vec<String>,
    /// As many cells each.
    pub rows: Vec<Vec<String>>,
}

impl Axis {
    /// An axis of this range.
    #[must_use]
    pub fn new(title: &str, from: f64, to: f64) -> Self {
        Self { title: title.to_owned(), from, to, is_log: false }
    }

    /// An axis with a little room around these values; none where none of them is finite.
    #[must_use]
    pub fn around(title: &str, values: impl Iterator<Item = f64>) -> Option<Self> {
        let ends = |(least, most): (f64, f64), value: f64| (least.min(value), most.max(value));
        let (least, most) = values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), ends);
        // An axis has a length also where all values are one.
        let room = ((most - least) * 0.05).max(1e-9 * most.abs()).max(1e-9);
        (least <= most).then(|| Self::new(title, least - room, most + room))
    }

    /// A logarithmic axis between two powers of ten.
    #[must_use]
    pub fn log(title: &str, from: i32, to: i32) -> Self {
        Self { is_log: true, ..Self::new(title, from.into(), to.into()) }
    }
}

impl Series {
    /// A series that is drawn as a line.
    #[must_use]
    pub fn line(name: &str, colour: usize, points: Vec<[f64; 2]>) -> Self {
        Self::new(name, colour, Mark::Line, points)
    }

    /// A series.
    #[must_use]
    pub fn new(name: &str, colour: usize, mark: Mark, points: Vec<[f64; 2]>) -> Self {
        Self { name: name.to_owned(), colour, mark, points }
    }
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), rows: vec![] }
    }

    /// As CSV (RFC 4180), the names of the columns first.
    #[must_use]
    pub fn csv(&self) -> String {
        let line = |cells: &Vec<String>| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",");
        [&self.header]
            .into_iter()
            .chain(&self.rows)
            .fold(String::new(), |text, cells| text + &line(cells) + "\n")
    }
}

impl Figure {
    /// All points that are drawn, as CSV: the chart's title, the series, x, y.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = "chart,series,x,y\n".to_owned();
        for chart in &self.charts {
            for series in &chart.series {
                let (chart, name) = (quoted(&chart.title), quoted(&series.name));
                for [x, y] in &series.points {
                    writeln!(text, "{chart},{name},{},{}", digits(*x), digits(*y)).expect("text takes text");
                }
            }
        }
        text
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// Six digits that say something: what two systems' logarithms differ in is not among them.
fn digits(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.5e}") }
}

/// Points of a curve: `count` of them, evenly from `from` to `to`.
pub(crate) fn curve(from: f64, to: f64, count: usize, y: impl Fn(f64) -> f64) -> Vec<[f64; 2]> {
    let x = |index: usize| from + (to - from) * index as f64 / (count - 1) as f64;
    (0..count).map(|index| [x(index), y(x(index))]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_with_a_comma_or_a_quote_is_quoted() {
        let mut table = Table::new(&["setting", "modes"]);
        table.rows.push(vec!["a, \"b\"".to_owned(), "8".to_owned()]);
        assert_eq!(table.csv(), "setting,modes\n\"a, \"\"b\"\"\",8\n");
    }

    #[test]
    fn an_axis_around_values_has_a_length() {
        let around = |values: &[f64]| Axis::around("x", values.iter().copied());
        assert_eq!(around(&[3.0, 1.0, f64::NAN]), Some(Axis::new("x", 0.9, 3.1)));
        assert!(around(&[0.0]).is_some_and(|axis| axis.from < 0.0 && axis.to > 0.0));
        assert_eq!(around(&[f64::INFINITY]), None);
    }

    #[test]
    fn a_curve_has_both_of_its_ends() {
        assert_eq!(curve(-1.0, 1.0, 3, |x| x * x), [[-1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]);
    }
}
