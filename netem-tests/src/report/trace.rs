//! One traced transfer: its record, and how its picture is read. Traced and drawn is it in `trace::example`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Section;
use crate::record::{Circumstances, Outcome, read};

/// A transfer in virtual time whose events were drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// The link's name.
    pub scenario: String,
    /// In words.
    pub about: String,
    /// How much was sent.
    pub bytes: u64,
    /// Of all chances.
    pub seed: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Virtual time from the first packet to the last byte.
    pub elapsed_s: f64,
    /// What was sent and lost.
    pub summary: String,
    /// Size of the trace, which is not kept.
    pub trace_bytes: u64,
    /// Where and when.
    pub circumstances: Circumstances,
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "trace";
}

/// The newest record: the picture is its.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let records: Vec<Record> = read(path)?;
    let Some(record) = records.last() else {
        return Ok(None);
    };
    let goodput = record.bytes as f64 * 8e-6 / record.elapsed_s.max(1e-9);
    let ended = match &record.outcome {
        Outcome::Complete => format!(
            "complete after {:.2} s, {goodput:.1} Mbit/s",
            record.elapsed_s
        ),
        Outcome::CutOff => format!("cut off after {:.2} s", record.elapsed_s),
        Outcome::Failed { reason } => format!("failed: {reason}"),
    };
    let text = format!(
        "`rpcp`'s transport over `{}` in virtual time ({}): {:.0} MB, seed {}, {ended}. As its sender saw it:\n\
         {}.\n\n\
         ![](results/trace.svg)\n\n\
         From top to bottom, over one time axis: the rate the pacer allows with what was sent, what was acknowledged and what\n\
         the controller believes is delivered (where red follows blue by a round trip, all arrives); the round trip times\n\
         (what lies above the green line is queue); the bytes in flight under their window; the share of the packets sent at each\n\
         moment that was lost, with the part believed not to be congestion, and ticks where a verdict was wrong or nothing came\n\
         back; the controller's state as a colour, with the queue it believes in and the queue it wants. The trace itself\n\
         ({:.1} MB) is made by `cargo run --release -p rp-netem-tests --bin world -- {} --size {}MB --seed {} --trace x.sqlog`;\n\
         `--trace` of the three programs writes the same, and `cargo lab trace x.sqlog` draws it.\n",
        record.scenario,
        record.about.trim_end_matches('.'),
        record.bytes as f64 / 1e6,
        record.seed,
        record.summary,
        record.trace_bytes as f64 / 1e6,
        record.scenario,
        record.bytes / 1_000_000,
        record.seed,
    );
    Ok(Some(Section {
        text,
        plots: Vec::new(),
        circumstances: vec![record.circumstances.clone()],
    }))
}
