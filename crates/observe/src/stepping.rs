//! Time in which generations were stepping: an axis of curves on which deaths, stops and nights are no gaps.

use rusqlite::Connection;

/// The times in which a run was stepping, in order, each with the time of those before it.
#[derive(Debug, Default)]
pub(crate) struct Stepping(Vec<Span>);

#[derive(Clone, Copy, Debug)]
struct Span {
    from_ms: u64,
    until_ms: u64,
    before_ms: u64,
}

/// Times of a generation.
#[derive(Clone, Copy, Debug)]
struct Generation {
    formed_ms: u64,
    stepping_ms: Option<u64>,
    halted_ms: Option<u64>,
}

impl Stepping {
    /// Reads them. That of a generation that is alive has no end.
    pub fn read(db: &Connection) -> rusqlite::Result<Self> {
        let sql = "select formed_ms, stepping_ms, halted_ms from generations order by generation";
        let mut query = db.prepare(sql)?;
        let generations = query.query_map([], |row| {
            Ok(Generation { formed_ms: row.get(0)?, stepping_ms: row.get(1)?, halted_ms: row.get(2)? })
        })?;
        Ok(Self::of(&generations.collect::<Result<Vec<_>, _>>()?))
    }

    fn of(generations: &[Generation]) -> Self {
        let (mut spans, mut before_ms) = (Vec::new(), 0_u64);
        for (index, generation) in generations.iter().enumerate() {
            let Some(from_ms) = generation.stepping_ms else { continue };
            // One whose coordinator was killed with its workers has no end of its own.
            let next_ms = generations.get(index + 1).map(|next| next.formed_ms);
            let until_ms = generation.halted_ms.or(next_ms).unwrap_or(u64::MAX);
            spans.push(Span { from_ms, until_ms, before_ms });
            before_ms = before_ms.saturating_add(until_ms.saturating_sub(from_ms));
        }
        Self(spans)
    }

    /// How long the run had been stepping at this time.
    pub fn at(&self, wall_ms: u64) -> u64 {
        let index = self.0.partition_point(|span| span.from_ms <= wall_ms);
        let Some(span) = index.checked_sub(1).and_then(|index| self.0.get(index)) else { return 0 };
        span.before_ms.saturating_add(wall_ms.min(span.until_ms).saturating_sub(span.from_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(formed_ms: u64, stepping_ms: Option<u64>, halted_ms: Option<u64>) -> Generation {
        Generation { formed_ms, stepping_ms, halted_ms }
    }

    #[test]
    fn time_between_generations_is_left_out() {
        let stepping = Stepping::of(&[
            generation(90, Some(100), Some(200)),
            generation(300, None, Some(400)),
            generation(490, Some(500), Some(510)),
            generation(900, Some(1000), None),
        ]);
        for (wall_ms, stepped_ms) in
            [(0, 0), (100, 0), (150, 50), (200, 100), (400, 100), (505, 105), (900, 110), (1001, 111)]
        {
            assert_eq!(stepping.at(wall_ms), stepped_ms, "at {wall_ms} ms");
        }
        assert_eq!(Stepping::default().at(7), 0);
    }

    /// It ends when the next one is formed: its coordinator was killed with its workers.
    #[test]
    fn a_generation_that_was_not_seen_to_halt_ends_with_the_next() {
        let stepping = Stepping::of(&[generation(90, Some(100), None), generation(490, Some(500), None)]);
        assert_eq!([stepping.at(450), stepping.at(600)], [350, 490]);
    }
}
