//! What holds of every figure of the table.

use std::path::{Path, PathBuf};

use lsgan_figures::{FIGURES, Figure, png, svg};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Each is made once: the networks in them take a second.
fn each(check: impl Fn(&str, &Figure)) {
    for named in FIGURES {
        check(named.name, &(named.make)());
    }
}

#[test]
fn every_figure_keeps_the_contract() {
    each(|name, figure| {
        points_are_numbers(name, figure);
        every_row_has_a_cell_for_each_column(name, figure);
        the_pictures_are_small_and_of_one_size(name, figure);
        the_committed_svg_is_this_one(name, figure);
        the_gallery_shows_it(name, figure);
    });
}

fn points_are_numbers(name: &str, figure: &Figure) {
    assert!(!figure.charts.is_empty() && !figure.notes.is_empty(), "{name}");
    assert!((1..=figure.charts.len()).contains(&figure.columns), "{name}");
    for chart in &figure.charts {
        assert!(!chart.series.is_empty() && chart.x.from < chart.x.to && chart.y.from < chart.y.to, "{name}");
        for series in &chart.series {
            let finite = series.points.iter().flatten().all(|value| value.is_finite());
            assert!(!series.points.is_empty() && finite, "{name}: {}, {}", chart.title, series.name);
        }
    }
    let points: usize =
        figure.charts.iter().flat_map(|chart| &chart.series).map(|series| series.points.len()).sum();
    assert_eq!(figure.csv().lines().count(), points + 1, "{name}: a line for each point, and the columns");
}

fn every_row_has_a_cell_for_each_column(name: &str, figure: &Figure) {
    let columns = figure.numbers.header.len();
    assert!(
        !figure.numbers.rows.is_empty() && figure.numbers.rows.iter().all(|row| row.len() == columns),
        "{name}"
    );
}

fn the_pictures_are_small_and_of_one_size(name: &str, figure: &Figure) {
    let text = svg(figure).expect("it can be drawn");
    assert!(text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"), "{name}");
    assert!(text.len() < 150_000, "{name}: the SVG has {} bytes", text.len());
    let picture = image::load_from_memory(&png(figure).expect("it can be drawn"))
        .expect("it is read again")
        .into_rgb8();
    let (width, height) = picture.dimensions();
    assert!(
        text.contains(&format!("width=\"{}\" height=\"{}\"", width / 2, height / 2)),
        "{name}: {width}x{height}"
    );
    let is_white = |pixel: &image::Rgb<u8>| pixel.0 == [255; 3];
    let drawn = picture.pixels().filter(|pixel| !is_white(pixel)).count();
    assert!(drawn > 1000 && drawn < picture.pixels().len() / 2, "{name}: {drawn} pixels are drawn");
}

/// LSGAN_UPDATE_EXPECTED=1 writes it.
fn the_committed_svg_is_this_one(name: &str, figure: &Figure) {
    let path = root().join(format!("docs/gallery/{name}.svg"));
    let made = svg(figure).expect("it can be drawn");
    if std::env::var_os("LSGAN_UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
    }
    let is = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(is == made, "docs/gallery/{name}.svg is not what `lsgan figure {name}` draws");
}

/// With its picture, its command, and each of its numbers.
fn the_gallery_shows_it(name: &str, figure: &Figure) {
    let text = std::fs::read_to_string(root().join("docs/gallery.md")).expect("the gallery is there");
    let mut wanted = vec![format!("(gallery/{name}.svg)"), format!("lsgan figure {name}")];
    wanted.extend(figure.numbers.rows.iter().map(|row| format!("| {} |", row.join(" | "))));
    for words in wanted {
        assert!(text.contains(&words), "docs/gallery.md does not have `{words}`");
    }
}
