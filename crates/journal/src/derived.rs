//! The scalars that follow from others, for readers: a view before the table `metrics` that has them as columns.

use rusqlite::Connection;

/// Of the name of the table, which it hides: so whatever a reader asks of `metrics`, it can ask of these scalars too. A
/// temporary view is the connection's own, and leaves no trace in a file that may not be written to.
///
/// A journal without the fact `global_batch` (one that no coordinator has opened since there is one) has no `kimg`.
const VIEW: &str = "
    create temp view metrics as
    select *,
           (step + 1) * (select value from main.meta where key = 'global_batch') / 1000.0 as kimg,
           1000.0 / nullif(images_per_s, 0.0) as s_per_kimg
    from main.metrics";

/// Has this connection show them.
pub(crate) fn show(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(VIEW)
}
