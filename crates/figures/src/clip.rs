//! Lines cut off at the edges of a chart: the drawing library would lead them along the edge.

/// The pieces of a line that lie within `x` and `y`, both `[from, to]`.
pub fn clip(line: &[(f64, f64)], x: [f64; 2], y: [f64; 2]) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = vec![];
    for pair in line.windows(2) {
        let Some([from, to]) = inside(pair[0], pair[1], x, y) else { continue };
        match pieces.last_mut() {
            Some(piece) if piece.last() == Some(&from) => piece.push(to),
            _ => pieces.push(vec![from, to]),
        }
    }
    pieces
}

/// The part of a stretch that lies within a rectangle (Liang and Barsky 1984).
fn inside(from: (f64, f64), to: (f64, f64), x: [f64; 2], y: [f64; 2]) -> Option<[(f64, f64); 2]> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    // Each edge: how fast the stretch approaches it, and how far it is.
    for (speed, room) in
        [(-dx, from.0 - x[0]), (dx, x[1] - from.0), (-dy, from.1 - y[0]), (dy, y[1] - from.1)]
    {
        if speed == 0.0 && room < 0.0 {
            return None;
        }
        if speed < 0.0 {
            first = first.max(room / speed);
        } else if speed > 0.0 {
            last = last.min(room / speed);
        }
    }
    let at = |share: f64| match share {
        0.0 => from,
        1.0 => to,
        share => (from.0 + share * dx, from.1 + share * dy),
    };
    (first <= last).then(|| [at(first), at(last)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_leaves_and_comes_back_is_cut_at_the_edges() {
        let line = [(0.0, 0.0), (1.0, 2.0), (2.0, 0.0), (3.0, 0.5)];
        let pieces = clip(&line, [0.0, 3.0], [0.0, 1.0]);
        assert_eq!(pieces, [vec![(0.0, 0.0), (0.5, 1.0)], vec![(1.5, 1.0), (2.0, 0.0), (3.0, 0.5)]]);
        assert_eq!(clip(&line, [0.0, 3.0], [3.0, 4.0]), Vec::<Vec<_>>::new());
        assert_eq!(clip(&line, [0.0, 3.0], [0.0, 2.0]), [line.to_vec()]);
    }
}
