//! Figures beside their thresholds, a line each, and their records.

use std::{
    io::{self, Write},
    path::Path,
};

use rp_netem_tests::{record::Journal, report::threshold::Record, threshold::Row};

use crate::End;

/// Says how a figure stands to its threshold.
pub(crate) fn print(row: &Row) {
    let verdict = if row.holds { "ok" } else { "FAIL" };
    // Nobody to tell if standard output is closed.
    let _ = writeln!(
        io::stdout(),
        "{verdict:<5}{:<66} {:>12}  {}",
        row.what,
        row.figure,
        row.threshold
    );
}

/// Says how many hold.
pub(crate) fn end(rows: &[Row]) -> anyhow::Result<End> {
    let held = rows.iter().filter(|row| row.holds).count();
    writeln!(io::stdout(), "{held} of {} hold", rows.len())?;
    let is_good = held == rows.len();
    Ok(if is_good { End::Good } else { End::Bad })
}

/// Keeps them for the report.
pub(crate) fn keep(out: &Path, measurement: &str, rows: Vec<Row>) -> anyhow::Result<()> {
    Journal::open(out)?.append(&Record::of(measurement, rows))
}
