//! One transfer of one rival over one scenario by one carrier, as a record. Which of them are run, and where,
//! is the matter of `lab netem`; how a transfer is measured, of `rival`.

use std::time::Duration;

use super::Plan;
use crate::{
    record::{Circumstances, Outcome},
    report::netem::Record,
    rival::{Carrier, Job, Kit, Rival, transfer_by},
    scenario::Scenario,
};

/// One transfer to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Cell<'a> {
    /// The link.
    pub scenario: &'a Scenario,
    /// Who sends.
    pub rival: &'static dyn Rival,
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
        peer: cell.rival.name().to_owned(),
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
        .rival
        .install(kit)
        .and_then(|()| cell.rival.version(kit));
    let measured = version.and_then(|version| {
        record.version = version;
        transfer_by(cell.carrier, cell.rival, kit, &job)
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
