//! One transfer of one implementation over one scenario by one carrier, as a record. Which of them are run, and where,
//! is the matter of `lab netem`; how a transfer is measured, of `implementation`.

use std::time::Duration;

use super::Plan;
use crate::{
    implementation::{Carrier, Implementation, Job, Kit, transfer_by},
    record::{Circumstances, Outcome},
    report::netem::Record,
    scenario::Scenario,
};

/// One transfer to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// The link.
    pub scenario: &'a Scenario,
    /// Who sends.
    pub implementation: &'static dyn Implementation,
    /// What joins the two sides.
    pub carrier: Carrier,
    /// Counted from 0; chooses the seed too.
    pub repetition: u32,
    /// Payload as time: as much as the bottleneck carries in it.
    pub length: Duration,
    /// Longest time it may take.
    pub limit: Duration,
}

/// Measures a cell. What goes wrong stands in the record.
pub fn measure(cell: Cell<'_>, kit: &Kit) -> Record {
    let forward = &cell.scenario.forward;
    let seed = 1 + u64::from(cell.repetition);
    let mut record = Record {
        kind: Record::KIND.to_owned(),
        scenario: cell.scenario.name.clone(),
        peer: cell.implementation.name().to_owned(),
        version: String::new(),
        carrier: cell.carrier,
        repetition: cell.repetition,
        seed: (cell.carrier == Carrier::Tun).then_some(seed),
        tc: Vec::new(),
        notes: Vec::new(),
        rate_bits: forward.rate().map_or(0, |rate| rate.bits_per_second()),
        asked_bytes: forward.rate().map_or(0, |rate| rate.bytes_in(cell.length)),
        outcome: Outcome::Complete,
        figures: None,
        circumstances: Circumstances::now(),
    };
    if cell.carrier == Carrier::Netem {
        for plan in [Plan::of(forward), Plan::of(&cell.scenario.back)] {
            record.tc.push(plan.qdisc.join(" "));
            for note in plan.notes.iter().map(ToString::to_string) {
                if !record.notes.contains(&note) {
                    record.notes.push(note);
                }
            }
        }
    }
    let job = Job {
        scenario: cell.scenario,
        bytes: record.asked_bytes,
        limit: cell.limit,
        seed,
    };
    let version = cell
        .implementation
        .install(kit)
        .and_then(|()| cell.implementation.version(kit));
    let measured = version.and_then(|version| {
        record.version = version;
        transfer_by(cell.carrier, cell.implementation, kit, &job)
    });
    match measured {
        Ok((outcome, figures)) => {
            record.outcome = outcome;
            record.figures = Some(figures);
        }
        Err(error) => {
            record.outcome = Outcome::Failed {
                reason: format!("{error:#}"),
            };
        }
    }
    record
}
