//! A picture as half blocks: each sign has two pixels, above each other, as its colour and the colour behind it.

use lsgan_pictures::{Channels, RgbImage, Sides, Target, scale};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;

use crate::screen::Colours;

/// The upper half is drawn, the lower half shows what is behind.
const HALF: char = '▀';
/// Pixels between two samples of a grid, and around them.
const GAP_PX: u32 = 2;
/// A sample is shown with so many pixels a side at least; of a grid with smaller ones, a part is shown.
const SIDE_PX_MIN: u32 = 16;

/// Whether a picture can be made out in these colours.
pub(crate) fn can_be_shown(colours: Colours) -> bool {
    matches!(colours, Colours::Table | Colours::All)
}

/// The columns that a picture takes where it has so many rows.
pub(crate) fn columns(rows: u16) -> u16 {
    rows.saturating_mul(2)
}

/// Draws as much of a grid as can be made out in this area, from its upper left corner on; `tile_px` is the side of a sample, none
/// for a plot. Where there are too few colours, nothing.
pub(crate) fn draw(grid: &RgbImage, tile_px: Option<u32>, colours: Colours, area: Rect, onto: &mut Buffer) {
    let colour: fn(&[u8]) -> Color = match colours {
        Colours::None | Colours::Few => return,
        Colours::Table => of_table,
        Colours::All => |rgb: &[u8]| Color::Rgb(rgb[0], rgb[1], rgb[2]),
    };
    let room = Sides { width: area.width.into(), height: 2 * u32::from(area.height) };
    let Some((seen, pixels)) = part(grid, tile_px, room) else { return };
    let to = fitted(seen, room);
    let mut out = vec![0; (to.width * to.height * 3) as usize];
    scale(Channels::Colour, seen, &pixels, Target::whole(to), &mut out);
    let at = |x: u32, y: u32| {
        let begin = ((y * to.width + x) * 3) as usize;
        out.get(begin..begin + 3).map(colour)
    };
    for row in 0..to.height.div_ceil(2) {
        for column in 0..to.width {
            let place = (area.x + column as u16, area.y + row as u16);
            let (Some(cell), Some(upper)) = (onto.cell_mut(place), at(column, 2 * row)) else { continue };
            cell.set_char(HALF).set_fg(upper);
            if let Some(lower) = at(column, 2 * row + 1) {
                cell.set_bg(lower);
            }
        }
    }
}

/// The upper left part of the grid, of whole samples that are large enough to be made out, and its pixels. None where there is nothing.
fn part(grid: &RgbImage, tile_px: Option<u32>, room: Sides) -> Option<(Sides, Vec<u8>)> {
    let along = |whole: u32, room: u32| match tile_px.filter(|tile| *tile > 0 && *tile < whole) {
        None => whole,
        Some(tile) => {
            let most = ((whole - GAP_PX.min(whole)) / (tile + GAP_PX)).max(1);
            let count = (room / SIDE_PX_MIN.min(tile)).clamp(1, most);
            (count * (tile + GAP_PX) + GAP_PX).min(whole)
        }
    };
    let sides = Sides { width: along(grid.width(), room.width), height: along(grid.height(), room.height) };
    if [sides.width, sides.height, room.width, room.height].contains(&0) {
        return None;
    }
    let rows = grid.as_raw().chunks_exact(grid.width() as usize * 3).take(sides.height as usize);
    let pixels = rows.flat_map(|row| &row[..sides.width as usize * 3]).copied().collect();
    Some((sides, pixels))
}

/// The largest sides of the same shape that there is room for.
fn fitted(from: Sides, room: Sides) -> Sides {
    let scale = f64::min(
        f64::from(room.width) / f64::from(from.width),
        f64::from(room.height) / f64::from(from.height),
    );
    let along = |from: u32, room: u32| ((f64::from(from) * scale).round() as u32).clamp(1, room);
    Sides { width: along(from.width, room.width), height: along(from.height, room.height) }
}

/// The nearest of the table's 6 × 6 × 6 colours.
fn of_table(rgb: &[u8]) -> Color {
    let place = |byte: u8| (u16::from(byte) * 5 + 127) / 255;
    Color::Indexed((16 + 36 * place(rgb[0]) + 6 * place(rgb[1]) + place(rgb[2])) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two samples of 2 pixels, red and blue, beside each other, in a grid as the runs make it.
    fn grid() -> RgbImage {
        let mut grid = RgbImage::new(10, 6);
        for (x, y, pixel) in grid.enumerate_pixels_mut() {
            if (2..4).contains(&y) {
                pixel.0 = match x {
                    2..4 => [255, 0, 0],
                    6..8 => [0, 0, 255],
                    _ => [0, 0, 0],
                };
            }
        }
        grid
    }

    fn drawn(colours: Colours, area: Rect) -> Buffer {
        let mut buffer = Buffer::empty(area);
        draw(&grid(), Some(2), colours, area, &mut buffer);
        buffer
    }

    #[test]
    fn two_pixels_are_a_sign_with_their_colours() {
        let buffer = drawn(Colours::All, Rect::new(0, 0, 10, 3));
        let cell = buffer.cell((2, 1)).unwrap();
        assert_eq!((cell.symbol(), cell.fg, cell.bg), ("▀", Color::Rgb(255, 0, 0), Color::Rgb(255, 0, 0)));
        assert_eq!(buffer.cell((6, 1)).unwrap().fg, Color::Rgb(0, 0, 255));
        assert_eq!(buffer.cell((0, 0)).unwrap().fg, Color::Rgb(0, 0, 0));
        let buffer = drawn(Colours::Table, Rect::new(0, 0, 10, 3));
        assert_eq!(buffer.cell((2, 1)).unwrap().fg, Color::Indexed(196));
    }

    #[test]
    fn without_colours_nothing_is_drawn() {
        for colours in [Colours::None, Colours::Few] {
            let area = Rect::new(0, 0, 10, 3);
            assert_eq!(drawn(colours, area), Buffer::empty(area));
        }
    }

    #[test]
    fn of_samples_that_would_be_too_small_a_part_is_shown() {
        let grid = RgbImage::new(8 * 66 + 2, 8 * 66 + 2);
        let (seen, _) = part(&grid, Some(64), Sides { width: 40, height: 40 }).unwrap();
        assert_eq!(seen, Sides { width: 2 * 66 + 2, height: 2 * 66 + 2 });
        let (seen, _) = part(&grid, Some(64), Sides { width: 400, height: 10 }).unwrap();
        assert_eq!(seen, Sides { width: 8 * 66 + 2, height: 66 + 2 });
        assert_eq!(part(&grid, None, Sides { width: 9, height: 9 }).unwrap().0.width, 530);
        assert!(part(&grid, None, Sides { width: 0, height: 9 }).is_none());
        assert!(part(&RgbImage::new(0, 0), Some(64), Sides { width: 9, height: 9 }).is_none());
    }

    #[test]
    fn a_picture_keeps_its_shape() {
        let from = Sides { width: 100, height: 50 };
        assert_eq!(fitted(from, Sides { width: 40, height: 40 }), Sides { width: 40, height: 20 });
        assert_eq!(fitted(from, Sides { width: 40, height: 3 }), Sides { width: 6, height: 3 });
    }
}
