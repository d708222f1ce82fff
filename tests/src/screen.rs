//! What a terminal shows of what it was sent: as much of one as lines with a bar below them need.

use std::str::Chars;

/// The lines that a terminal of so many columns shows, from the first that ever was, without empty ones. One that takes several rows is
/// one. Panics at a sequence that neither lines nor a bar need.
pub fn lines(sent: &str, columns: usize) -> Vec<String> {
    let mut screen = Screen { columns, rows: Vec::new(), row: 0, column: 0 };
    let mut rest = sent.chars();
    while let Some(next) = rest.next() {
        match next {
            '\r' => screen.column = 0,
            '\n' => screen.row += 1,
            '\u{1b}' => screen.obey(&mut rest),
            shown => screen.put(shown),
        }
    }
    screen.lines()
}

#[derive(Clone, Default)]
struct Row {
    shown: Vec<char>,
    /// It was full, and its line goes on in the next.
    goes_on: bool,
}

/// Rows are never scrolled away.
struct Screen {
    columns: usize,
    rows: Vec<Row>,
    row: usize,
    column: usize,
}

impl Screen {
    fn row(&mut self) -> &mut Row {
        if self.rows.len() <= self.row {
            self.rows.resize(self.row + 1, Row::default());
        }
        &mut self.rows[self.row]
    }

    fn put(&mut self, shown: char) {
        if self.column == self.columns {
            self.row().goes_on = true;
            (self.row, self.column) = (self.row + 1, 0);
        }
        let column = self.column;
        let row = self.row();
        if row.shown.len() <= column {
            row.shown.resize(column + 1, ' ');
        }
        row.shown[column] = shown;
        self.column += 1;
    }

    /// What follows an escape character.
    fn obey(&mut self, rest: &mut Chars<'_>) {
        assert_eq!(rest.next(), Some('['), "no line and no bar needs that");
        let mut number = String::new();
        let order = loop {
            match rest.next() {
                Some(digit) if digit.is_ascii_digit() || ";?".contains(digit) => number.push(digit),
                Some(order) => break order,
                // The rest of it is still on its way.
                None => return,
            }
        };
        let count: usize = number.parse().unwrap_or(1);
        match order {
            'A' => self.row = self.row.saturating_sub(count),
            'B' => self.row += count,
            'K' if number == "2" => *self.row() = Row::default(),
            // A colour, or whether there is a cursor.
            'm' | 'h' | 'l' => {}
            order => panic!("no line and no bar needs [{number}{order}"),
        }
    }

    fn lines(self) -> Vec<String> {
        let (mut lines, mut line) = (Vec::new(), String::new());
        for row in self.rows {
            line.extend(row.shown);
            if !row.goes_on {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
            }
        }
        lines.retain(|line| !line.is_empty());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_that_is_cleared_leaves_lines_and_one_that_is_not_breaks_them() {
        let bar = "\u{1b}[36m━━\u{1b}[0m 1/20 ";
        let clear = "\u{1b}[1A\r\u{1b}[2K\u{1b}[1B\r\u{1b}[2K\u{1b}[1A";
        let shown = |between: &str| lines(&format!("first\r\n{bar}{between}second\r\n{bar}"), 5);
        assert_eq!(shown(clear), ["first", "second", "━━ 1/20"]);
        assert_eq!(shown(""), ["first", "━━ 1/20 second", "━━ 1/20"]);
    }
}
