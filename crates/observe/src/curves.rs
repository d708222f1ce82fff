//! Scalars over steps, thinned to what a screen can show: the least, the greatest and the mean of each column of pixels, and a
//! moving mean of the whole series.

use lsgan_journal::thinning::{self, BLOCK_STEPS};
use lsgan_journal::{JournalError, Reader};
use lsgan_spec::scalars::{ALL, Origin, Scalar};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};

use crate::blocks::Blocks;
use crate::kept::Kept;
use crate::means::{BLOCKS_OF_WINDOW, Sums};

/// The most columns of pixels.
pub const PIXELS_MAX: u64 = 4000;

/// Scalars that are looked at together.
pub(crate) fn group(scalar: &Scalar) -> &'static str {
    match scalar.origin {
        Origin::Mean(_) if scalar.name.starts_with("loss") => "losses",
        Origin::Mean(_) => "outputs",
        Origin::Sum(_) => "gradients",
        Origin::Clock | Origin::Derived => "speed",
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which scalars.
    pub names: Vec<String>,
    /// The first step.
    pub from: u64,
    /// One past the last step; none for all there are.
    pub until: Option<u64>,
    /// Columns of pixels.
    pub pixels: u64,
    /// The moving mean is over so many steps; 0 for none.
    pub window: u64,
}

/// The blocks of a run's scalars, which follow its journal.
#[derive(Debug, Default)]
pub struct Index {
    scalars: Vec<Scalar>,
    blocks: Option<Blocks>,
    /// Step and time of the newest row that is in the blocks.
    newest: Option<(u64, u64)>,
    /// Rows of earlier steps were thinned.
    thinned_until: u64,
    /// Rows that are in the blocks, and not in what is kept of them.
    not_kept: u64,
}

/// So many rows are read in a second or two. Blocks with more of them are kept for the next start.
const KEEP_ROWS: u64 = 1_000_000;

impl Index {
    /// What is kept of the run with this id; empty where nothing is.
    #[must_use]
    pub fn kept(id: &str) -> Self {
        let Some(Kept { names, blocks, newest, .. }) = Kept::read(id) else { return Self::default() };
        let scalar = |name: &String| ALL.iter().find(|scalar| scalar.name == name).copied();
        match names.iter().map(scalar).collect() {
            Some(scalars) => Self { scalars, blocks: Some(blocks), newest: Some(newest), ..Self::default() },
            None => Self::default(),
        }
    }

    /// Keeps it for the next start where it took long to read.
    pub fn keep(&mut self, id: &str) {
        if let (true, Some(blocks), Some(newest)) = (self.not_kept >= KEEP_ROWS, &self.blocks, self.newest) {
            let names = self.scalars.iter().map(|scalar| scalar.name.to_owned()).collect();
            Kept::new(names, blocks.clone(), newest).write(id);
            self.not_kept = 0;
        }
    }

    /// Reads the rows that are new.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn follow(&mut self, journal: &mut Reader) -> Result<(), JournalError> {
        let scalars = journal.scalars()?;
        let names: Vec<_> = scalars.iter().map(|scalar| scalar.name).collect();
        journal.read(|db| {
            let thinned_until = thinning::until(db)?;
            // Steps that were done again (the states differed) or a run that began anew: the rows are others. Or some were thinned
            // before they were read, so that nobody knows which of their block had been.
            if self.scalars != scalars || !self.is_of(db)? || self.until() < thinned_until {
                *self = Self { scalars: scalars.clone(), ..Self::default() };
            }
            self.thinned_until = thinned_until;
            let from = self.newest.map_or(0, |(step, _)| step + 1);
            // At first as long as what the journal thins together. 10 million steps have then fewer blocks than are kept, and a zoom in
            // reads at most so many rows for each column of pixels.
            let blocks = self.blocks.get_or_insert_with(|| Blocks::new(BLOCK_STEPS, 0, names.len()));
            let (newest, not_kept) = (&mut self.newest, &mut self.not_kept);
            rows(db, &names, from, u64::MAX, |step, wall_ms, values| {
                blocks.add(step, wall_ms, values);
                *newest = Some((step, wall_ms));
                *not_kept += 1;
            })?;
            // Blocks that follow have had the rows before they were thinned.
            if from > 0 {
                return Ok(());
            }
            thinning::each(db, |gone| {
                let sums: Vec<_> = names.iter().map(|name| gone.sums.get(*name).copied()).collect();
                blocks.add_sums(gone.step, &sums);
            })
        })
    }

    /// Whether the newest row that was read is still there.
    fn is_of(&self, db: &Connection) -> rusqlite::Result<bool> {
        let Some((step, wall_ms)) = self.newest else { return Ok(true) };
        let sql = "select wall_ms from metrics where step = ?1";
        let found: Option<u64> = db.query_row(sql, params![step], |row| row.get(0)).optional()?;
        Ok(found == Some(wall_ms))
    }

    /// One past the newest step.
    #[must_use]
    pub fn until(&self) -> u64 {
        self.newest.map_or(0, |(step, _)| step + 1)
    }

    /// The curves that are asked for, as docs/observe.md has them. Names that nobody knows are left out.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn curves(&self, journal: &mut Reader, ask: &Ask) -> Result<Value, JournalError> {
        let until = ask.until.unwrap_or(u64::MAX).min(self.until());
        let from = ask.from.min(until);
        let width = (until - from).div_ceil(ask.pixels.clamp(10, PIXELS_MAX)).max(1);
        // A mean over less than a column would be of some of its rows.
        let window = if ask.window > 0 { ask.window.max(width) } else { 0 };
        let Some(blocks) = &self.blocks else { return Ok(answer(from, until, &[], vec![])) };
        let wanted: Vec<usize> = (0..self.scalars.len())
            .filter(|i| ask.names.iter().any(|name| name == self.scalars[*i].name))
            .collect();
        if width >= blocks.len {
            // Whole blocks.
            let width = width.div_ceil(blocks.len) * blocks.len;
            let thin = blocks.thin_range(width, from, until);
            let smooth = (window > 0).then_some(Smooth { base: blocks, window: window.max(width) });
            return Ok(self.answer(&thin, &wanted, (from, until), smooth));
        }
        // So near that a block is wider than a column: from the rows themselves.
        let names: Vec<_> = wanted.iter().map(|index| self.scalars[*index].name).collect();
        // Of rows that were thinned only blocks know the means.
        let is_thinned = from.saturating_sub(window) < self.thinned_until;
        let by_blocks = is_thinned || window >= BLOCKS_OF_WINDOW * blocks.len;
        let reach = if by_blocks { 0 } else { window };
        let resolution = (window / BLOCKS_OF_WINDOW).max(1);
        let begin = from.saturating_sub(reach);
        let mut thin = Blocks::new(width, from, names.len());
        let mut base = Blocks::new(resolution, begin, names.len());
        journal.read(|db| {
            rows(db, &names, begin, until, |step, wall_ms, values| {
                if step >= from {
                    thin.add(step, wall_ms, values);
                }
                if reach > 0 {
                    base.add(step, wall_ms, values);
                }
            })
        })?;
        let near = Near { thin: &thin, base: if by_blocks { None } else { Some(&base) } };
        Ok(self.answer_near(&near, &wanted, (from, until), window))
    }

    fn answer(
        &self,
        thin: &Blocks,
        wanted: &[usize],
        (from, until): (u64, u64),
        smooth: Option<Smooth<'_>>,
    ) -> Value {
        let lasts: Vec<_> = thin.filled().map(|(last, _)| (last.step, last.wall_ms)).collect();
        let curve = |&index: &usize| {
            let smooth = smooth.as_ref().map(|smooth| smooth.of(index, &lasts));
            (self.scalars[index], curve(thin, index, smooth))
        };
        answer(from, until, &lasts, wanted.iter().map(curve).collect())
    }

    /// The same from rows, whose blocks have the wanted scalars alone.
    fn answer_near(
        &self,
        near: &Near<'_>,
        wanted: &[usize],
        (from, until): (u64, u64),
        window: u64,
    ) -> Value {
        let lasts: Vec<_> = near.thin.filled().map(|(last, _)| (last.step, last.wall_ms)).collect();
        let curve = |(place, &index): (usize, &usize)| {
            let smooth = (window > 0).then(|| match (near.base, &self.blocks) {
                (None, Some(blocks)) => Smooth { base: blocks, window }.of(index, &lasts),
                (base, _) => Smooth { base: base.unwrap_or(near.thin), window }.of(place, &lasts),
            });
            (self.scalars[index], curve(near.thin, place, smooth))
        };
        answer(from, until, &lasts, wanted.iter().enumerate().map(curve).collect())
    }
}

/// Blocks made of the rows of a range.
struct Near<'a> {
    thin: &'a Blocks,
    /// For means; none where the run's own blocks are fine enough.
    base: Option<&'a Blocks>,
}

/// A moving mean.
struct Smooth<'a> {
    base: &'a Blocks,
    window: u64,
}

impl Smooth<'_> {
    /// The mean over the last steps of the window, at each of these rows.
    fn of(&self, scalar: usize, lasts: &[(u64, u64)]) -> Vec<Value> {
        let sums = Sums::of(self.base, scalar);
        let at = |(step, _): &(u64, u64)| sums.mean((step + 1).saturating_sub(self.window), step + 1);
        lasts.iter().map(|last| number(at(last))).collect()
    }
}

/// One scalar in the blocks that have rows.
fn curve(thin: &Blocks, place: usize, smooth: Option<Vec<Value>>) -> Map<String, Value> {
    let cells: Vec<_> = thin.filled().map(|(_, cells)| cells[place]).collect();
    let mut curve = Map::new();
    let of = |value: &dyn Fn(&crate::blocks::Cell) -> Option<f64>| -> Value {
        cells.iter().map(|cell| number(value(cell))).collect()
    };
    curve.insert("mean".to_owned(), of(&|cell| cell.mean()));
    // Single rows have no extremes beside them.
    if cells.iter().any(|cell| cell.min != cell.max && cell.has_any()) {
        curve.insert("min".to_owned(), of(&|cell| cell.has_any().then(|| f64::from(cell.min))));
        curve.insert("max".to_owned(), of(&|cell| cell.has_any().then(|| f64::from(cell.max))));
    }
    if let Some(smooth) = smooth {
        curve.insert("smooth".to_owned(), Value::Array(smooth));
    }
    curve
}

fn answer(from: u64, until: u64, lasts: &[(u64, u64)], curves: Vec<(Scalar, Map<String, Value>)>) -> Value {
    let curves: Map<String, Value> =
        curves.into_iter().map(|(scalar, curve)| (scalar.name.to_owned(), Value::Object(curve))).collect();
    let (steps, wall_ms): (Vec<u64>, Vec<u64>) = lasts.iter().copied().unzip();
    json!({ "from": from, "until": until, "steps": steps, "wall_ms": wall_ms, "scalars": curves })
}

/// With five digits, which is more than a screen shows; null for none, and for what is not finite.
fn number(value: Option<f64>) -> Value {
    let Some(value) = value.filter(|value| value.is_finite()) else { return Value::Null };
    if value == 0.0 {
        return json!(0);
    }
    // Digits after the point, so that five are left; powers of ten of this size are exact.
    let after = 4 - value.abs().log10().floor() as i32;
    if !(-20..=20).contains(&after) {
        return json!(value as f32);
    }
    let rounded = if after >= 0 {
        let scale = 10_f64.powi(after);
        (value * scale).round() / scale
    } else {
        let scale = 10_f64.powi(-after);
        (value / scale).round() * scale
    };
    // Whole numbers are shorter without their `.0`.
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 { json!(rounded as i64) } else { json!(rounded) }
}

/// Each row of the steps `[from, until)`, in order.
pub(crate) fn rows(
    db: &Connection,
    names: &[&'static str],
    from: u64,
    until: u64,
    mut each: impl FnMut(u64, u64, &[Option<f64>]),
) -> rusqlite::Result<()> {
    let columns: String = names.iter().map(|name| format!(", {name}")).collect();
    let sql =
        format!("select step, wall_ms{columns} from metrics where step >= ?1 and step < ?2 order by step");
    let mut query = db.prepare(&sql)?;
    let limits = [from, until].map(|step| i64::try_from(step).unwrap_or(i64::MAX));
    let mut rows = query.query(params![limits[0], limits[1]])?;
    let mut values = vec![None; names.len()];
    while let Some(row) = rows.next()? {
        for (index, value) in values.iter_mut().enumerate() {
            *value = row.get(index + 2)?;
        }
        each(row.get(0)?, row.get(1)?, &values);
    }
    Ok(())
}
