//! The charts of a figure, drawn side by side.
//!
//! Both formats are drawn larger than they are shown: the drawing library rounds to whole pixels.

use std::sync::OnceLock;

use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder as _, RgbImage, codecs::png::PngEncoder};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::chart::{ChartBuilder, ChartContext, SeriesLabelPosition};
use plotters::coord::types::RangedCoordf64;
use plotters::coord::{Shift, cartesian::Cartesian2d};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, Cross, EmptyElement, PathElement, Polygon, Rectangle};
use plotters::series::DashedLineSeries;
use plotters::style::{
    BLACK, Color, FontStyle, IntoFont as _, RGBColor, ShapeStyle, TRANSPARENT, TextStyle, WHITE,
    register_font,
};

use crate::clip::clip;
use crate::figure::{Axis, Chart, Corner, Figure, Mark, Series};

/// The size of a chart as it is shown, in pixels.
const WIDTH: u32 = 420;
const HEIGHT: u32 = 320;
/// By so much an SVG is drawn larger; its numbers are whole.
const SVG_SCALE: u32 = 4;
/// By so much a PNG is drawn larger, and by so much it is then larger than it is shown.
const PNG_SCALE: u32 = 6;
const PNG_SHOWN: u32 = 2;

/// Colours that people who see few of them can tell apart (Okabe and Ito), and a grey.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x33, 0x33, 0x33),
    RGBColor(0x99, 0x99, 0x99),
];
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);

/// The family of the font, and what an SVG asks its viewer for.
const FAMILY: &str = "sans-serif";
static FONT: &[u8] = include_bytes!("../font/dejavu-sans-subset.ttf");

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("the figure cannot be drawn: {0}")]
pub struct DrawError(String);

type Plot<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// As an SVG.
///
/// # Errors
/// A figure with an axis of no length.
pub fn svg(figure: &Figure) -> Result<String, DrawError> {
    let (width, height) = size(figure, 1);
    let mut text = String::new();
    draw(SVGBackend::with_string(&mut text, size(figure, SVG_SCALE)), figure, SVG_SCALE)?;
    let (drawn_width, drawn_height) = size(figure, SVG_SCALE);
    let drawn = format!("width=\"{drawn_width}\" height=\"{drawn_height}\"");
    Ok(text.replacen(&drawn, &format!("width=\"{width}\" height=\"{height}\""), 1))
}

/// As a PNG, twice as large as the SVG is shown.
///
/// # Errors
/// A figure with an axis of no length.
pub fn png(figure: &Figure) -> Result<Vec<u8>, DrawError> {
    let (width, height) = size(figure, PNG_SCALE);
    let mut pixels = vec![0; (width * height * 3) as usize];
    draw(BitMapBackend::with_buffer(&mut pixels, (width, height)), figure, PNG_SCALE)?;
    let large = RgbImage::from_raw(width, height, pixels).expect("three bytes are a pixel");
    let (width, height) = size(figure, PNG_SHOWN);
    let shown = imageops::resize(&large, width, height, FilterType::Triangle);
    let mut png = vec![];
    let encoder = PngEncoder::new(&mut png);
    let written = encoder.write_image(shown.as_raw(), width, height, ExtendedColorType::Rgb8);
    written.map_err(|error| DrawError(error.to_string()))?;
    Ok(png)
}

fn size(figure: &Figure, scale: u32) -> (u32, u32) {
    let [rows, columns] = grid(figure).map(|count| count as u32);
    (WIDTH * scale * columns, HEIGHT * scale * rows)
}

/// Rows and columns, at least one of each.
fn grid(figure: &Figure) -> [usize; 2] {
    let columns = figure.columns.max(1);
    [figure.charts.len().div_ceil(columns).max(1), columns]
}

fn draw<DB: DrawingBackend>(backend: DB, figure: &Figure, scale: u32) -> Result<(), DrawError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    assert!(
        *REGISTERED.get_or_init(|| register_font(FAMILY, FontStyle::Normal, FONT).is_ok()),
        "the font that comes with the program is one"
    );
    let all = || -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        let [rows, columns] = grid(figure);
        let places = area.split_evenly((rows, columns));
        for (chart, place) in figure.charts.iter().zip(places) {
            Pen { scale: f64::from(scale) }.chart(&place, chart)?;
        }
        area.present()
    };
    all().map_err(|error| DrawError(error.to_string()))
}

/// Draws at a scale.
#[derive(Clone, Copy)]
struct Pen {
    scale: f64,
}

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

impl Pen {
    fn pixels(self, shown: f64) -> i32 {
        (shown * self.scale).round() as i32
    }

    fn text(self, size: f64) -> TextStyle<'static> {
        (FAMILY, size * self.scale).into_font().color(&BLACK.mix(0.85))
    }

    fn line(self, colour: RGBColor, width: f64) -> ShapeStyle {
        ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: self.pixels(width).unsigned_abs() }
    }

    fn chart<DB: DrawingBackend>(self, area: &DrawingArea<DB, Shift>, chart: &Chart) -> Drawn<DB> {
        let mut plot = ChartBuilder::on(area)
            .caption(&chart.title, self.text(15.0))
            .margin(self.pixels(10.0))
            .margin_right(self.pixels(24.0))
            .x_label_area_size(self.pixels(40.0))
            .y_label_area_size(self.pixels(52.0))
            .build_cartesian_2d(chart.x.from..chart.x.to, chart.y.from..chart.y.to)?;
        plot.configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(self.line(GRID, 0.6))
            .axis_style(self.line(PALETTE[7], 0.8))
            .set_all_tick_mark_size(self.pixels(4.0))
            .x_labels(8)
            .y_labels(8)
            .x_label_formatter(&|value| chart.x.label(*value))
            .y_label_formatter(&|value| chart.y.label(*value))
            .label_style(self.text(11.0))
            .axis_desc_style(self.text(12.0))
            .x_desc(&chart.x.title)
            .y_desc(&chart.y.title)
            .draw()?;
        for series in &chart.series {
            self.series(&mut plot, chart, series)?;
        }
        let Some(corner) = chart.legend else { return Ok(()) };
        plot.configure_series_labels()
            .position(corner.position())
            .margin(self.pixels(8.0))
            .legend_area_size(self.pixels(22.0))
            .label_font(self.text(11.0))
            .background_style(WHITE.mix(0.85))
            .border_style(self.line(GRID, 0.6))
            .draw()
    }

    fn series<'a, DB: DrawingBackend + 'a>(
        self,
        plot: &mut Plot<'a, DB>,
        chart: &Chart,
        series: &Series,
    ) -> Drawn<DB> {
        let colour = PALETTE[series.colour % PALETTE.len()];
        let points: Vec<(f64, f64)> =
            series.points.iter().map(|&[x, y]| (chart.x.place(x), chart.y.place(y))).collect();
        let is_inside = |&(x, y): &(f64, f64)| chart.x.has(x) && chart.y.has(y);
        let dots = || points.iter().copied().filter(is_inside);
        let pieces = || clip(&points, [chart.x.from, chart.x.to], [chart.y.from, chart.y.to]);
        let (line, radius) = (self.line(colour, 2.0), |shown| self.pixels(shown));
        let drawn = match series.mark {
            Mark::Line => {
                plot.draw_series(pieces().into_iter().map(|piece| PathElement::new(piece, line)))?
            }
            Mark::Dashes => {
                let thin = self.line(colour, 1.4);
                let dashes = pieces()
                    .into_iter()
                    .flat_map(|piece| DashedLineSeries::new(piece, radius(5.0), radius(4.0), thin));
                plot.draw_series(dashes)?
            }
            Mark::Dots => plot.draw_series(dots().map(|at| Circle::new(at, radius(4.0), colour.filled())))?,
            Mark::Dust => {
                plot.draw_series(dots().map(|at| Circle::new(at, radius(1.4), colour.mix(0.5).filled())))?
            }
            Mark::Crosses => plot.draw_series(dots().map(|at| Cross::new(at, radius(4.0), line)))?,
            Mark::Area => plot.draw_series([Polygon::new(points, colour.mix(0.18))])?,
            Mark::Arrows => {
                self.arrows(plot, &points, line)?;
                // Nothing more: it stands for all of them in the legend.
                plot.draw_series(Vec::<PathElement<(f64, f64)>>::new())?
            }
        };
        // An area belongs to the line in it.
        if series.mark != Mark::Area && chart.legend.is_some() {
            let (half, thin) = (radius(9.0), radius(1.0));
            drawn.label(series.name.clone()).legend(move |(x, y)| {
                Rectangle::new([(x + half / 4, y - thin), (x + 2 * half, y + thin)], colour.filled())
            });
        }
        Ok(())
    }

    /// Lines with two strokes at their ends.
    fn arrows<'a, DB: DrawingBackend + 'a>(
        self,
        plot: &mut Plot<'a, DB>,
        points: &[(f64, f64)],
        style: ShapeStyle,
    ) -> Drawn<DB> {
        for pair in points.chunks_exact(2) {
            let [from, to] = [pair[0], pair[1]].map(|point| plot.plotting_area().map_coordinate(&point));
            let (dx, dy) = (f64::from(from.0 - to.0), f64::from(from.1 - to.1));
            let length = dx.hypot(dy).max(1.0);
            let back = |side: f64| {
                let (x, y) = (dx / length, dy / length);
                (self.pixels(7.0 * x - side * y * 4.0), self.pixels(7.0 * y + side * x * 4.0))
            };
            let head = PathElement::new(vec![back(1.0), (0, 0), back(-1.0)], style);
            plot.draw_series([PathElement::new(pair.to_vec(), style)])?;
            plot.draw_series([EmptyElement::at(pair[1]) + head])?;
        }
        Ok(())
    }
}

impl Axis {
    /// Where a value stands on the axis. A logarithm needs a number above 0; what has none lies far below.
    fn place(&self, value: f64) -> f64 {
        if self.is_log { value.max(f64::MIN_POSITIVE).log10() } else { value }
    }

    fn has(&self, place: f64) -> bool {
        (self.from..=self.to).contains(&place)
    }

    /// What stands beside a tick.
    fn label(&self, place: f64) -> String {
        match self.is_log {
            true if (place - place.round()).abs() > 1e-6 => String::new(),
            true => format!("1e{}", place.round() as i32).replace('-', "\u{2212}"),
            false => format!("{}", (place * 1e6).round() / 1e6 + 0.0).replace('-', "\u{2212}"),
        }
    }
}

impl Corner {
    fn position(self) -> SeriesLabelPosition {
        match self {
            Self::UpperLeft => SeriesLabelPosition::UpperLeft,
            Self::UpperRight => SeriesLabelPosition::UpperRight,
            Self::LowerLeft => SeriesLabelPosition::LowerLeft,
            Self::LowerRight => SeriesLabelPosition::LowerRight,
        }
    }
}
