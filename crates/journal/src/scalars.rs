//! The table `metrics`: a row for each step that was reported, a column for each scalar of the registry that is measured. Those
//! that follow from it are in the readers' view (`derived`).

use std::collections::{BTreeMap, BTreeSet};

use lsgan_spec::scalars;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::{StepRow, thinning};

/// Adds a column for each measured scalar of the registry that has none.
pub(crate) fn add_columns(db: &Connection) -> rusqlite::Result<()> {
    let known = columns(db)?;
    for scalar in scalars::measured().filter(|scalar| !known.contains(scalar.name)) {
        db.execute_batch(&format!("alter table metrics add column {} real", scalar.name))?;
    }
    Ok(())
}

/// Whether a measured scalar of the registry has no column.
pub(crate) fn lacks_columns(db: &Connection) -> rusqlite::Result<bool> {
    let known = columns(db)?;
    Ok(scalars::measured().any(|scalar| !known.contains(scalar.name)))
}

/// All columns that the table has; on a reader's connection also those of the view.
pub(crate) fn columns(db: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut query = db.prepare("select name from pragma_table_info('metrics')")?;
    query.query_map([], |row| row.get(0))?.collect()
}

/// Adds rows. One that is there stays as it is: every worker would report the same. One of a step that was thinned was there.
pub(crate) fn add(db: &Connection, rows: &[StepRow]) -> rusqlite::Result<()> {
    let names: Vec<&str> =
        ["step", "wall_ms"].into_iter().chain(scalars::measured().map(|s| s.name)).collect();
    let marks = vec!["?"; names.len()].join(", ");
    let sql = format!("insert or ignore into metrics ({}) values ({marks})", names.join(", "));
    let mut insert = db.prepare_cached(&sql)?;
    let thinned_until = thinning::until(db)?;
    for row in rows.iter().filter(|row| row.step >= thinned_until) {
        let whole = [row.step, row.wall_ms].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        let values =
            scalars::measured().map(|s| row.scalars.get(s.name).map_or(Value::Null, |v| Value::Real(*v)));
        insert.execute(params_from_iter(whole.map(Value::Integer).into_iter().chain(values)))?;
    }
    Ok(())
}

/// The newest row.
pub(crate) fn newest(db: &Connection) -> rusqlite::Result<Option<StepRow>> {
    let known = columns(db)?;
    let names: Vec<&str> = scalars::ALL.iter().map(|s| s.name).filter(|name| known.contains(*name)).collect();
    let columns = ["step", "wall_ms"].iter().chain(&names).copied().collect::<Vec<_>>().join(", ");
    let sql = format!("select {columns} from metrics order by step desc limit 1");
    db.query_row(&sql, [], |row| {
        let mut scalars = BTreeMap::new();
        for (index, name) in names.iter().enumerate() {
            if let Some(value) = row.get(index + 2)? {
                scalars.insert((*name).to_owned(), value);
            }
        }
        Ok(StepRow { step: row.get(0)?, wall_ms: row.get(1)?, scalars })
    })
    .optional()
}
