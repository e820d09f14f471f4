//! Microbenchmarks: one connection, nothing emulated; goodput and processor time per gigabyte, all peers in
//! one run. Records and table are in `report::micro`; instruction counts, which need no quiet machine, in
//! `instructions`.

use std::{path::PathBuf, time::Duration};

use crate::{
    implementation::{Implementation, Job, Kit, transfer_over},
    leftovers, netns,
    record::{Circumstances, Journal, Outcome},
    report::micro::Record,
    veth::{Medium, VethLab},
};

/// Who is measured unless somebody says otherwise.
pub const PEERS: [&str; 4] = ["rpp", "tcp-cubic", "quinn-cubic", "rpcp"];

/// When a transfer is cut off.
const LIMIT: Duration = Duration::from_secs(30);

/// What to run: everybody over every medium, several times.
#[derive(Debug)]
pub struct Options {
    /// Who is measured.
    pub implementations: Vec<&'static dyn Implementation>,
    /// How much each sends.
    pub bytes: u64,
    /// How often each.
    pub repeat: u32,
    /// Where the records go.
    pub out: PathBuf,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Everything arrived.
    pub complete: usize,
    /// It took too long, or went wrong.
    pub failed: usize,
    /// Not tried, for lack of root or of the implementation.
    pub skipped: usize,
}

/// Runs all of it until `is_stopped`; `tell` hears what is going on, a line at a time.
///
/// # Errors
/// Records cannot be written. A run that goes wrong is a record.
pub fn run(
    options: &Options,
    kit: &Kit,
    is_stopped: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(&str),
) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    let repeat = usize::try_from(options.repeat).unwrap_or(usize::MAX);
    let count = Medium::ALL.len() * options.implementations.len() * repeat;
    if let Some(reason) = netns::no_namespaces() {
        tell(&format!("skipped: all {count} runs: {reason}"));
        summary.skipped = count;
        return Ok(summary);
    }
    leftovers::clean()?;
    let mut there = Vec::new();
    for implementation in &options.implementations {
        match implementation
            .install(kit)
            .and_then(|()| implementation.version(kit))
        {
            Ok(version) => there.push((*implementation, version)),
            Err(error) => {
                tell(&format!(
                    "not to be had: {}: {error:#}",
                    implementation.name()
                ));
                summary.skipped += Medium::ALL.len() * repeat;
            }
        }
    }
    let mut journal = Journal::open(&options.out)?;
    for medium in Medium::ALL {
        for repetition in 0..options.repeat {
            // Everybody once before anybody comes again, so that noise of the machine hits all.
            for (implementation, version) in &there {
                let record = options.measure(medium, *implementation, version, repetition, kit);
                if is_stopped() {
                    return Ok(summary);
                }
                match record.outcome {
                    Outcome::Complete => summary.complete += 1,
                    _ => summary.failed += 1,
                }
                tell(&record.brief());
                journal.append(&record)?;
            }
        }
    }
    Ok(summary)
}

impl Options {
    fn measure(
        &self,
        medium: Medium,
        implementation: &dyn Implementation,
        version: &str,
        repetition: u32,
        kit: &Kit,
    ) -> Record {
        let scenario = medium.scenario();
        let job = Job {
            scenario: &scenario,
            bytes: self.bytes,
            limit: LIMIT,
            seed: 1,
        };
        let (outcome, figures) = match transfer_over::<VethLab>(implementation, kit, &job) {
            Ok((outcome, figures)) => (outcome, Some(figures)),
            Err(error) => {
                let reason = format!("{error:#}");
                (Outcome::Failed { reason }, None)
            }
        };
        Record {
            kind: Record::KIND.to_owned(),
            scenario: scenario.name,
            peer: implementation.name().to_owned(),
            settings: implementation.about().to_owned(),
            version: version.to_owned(),
            repetition,
            bytes: self.bytes,
            outcome,
            elapsed_s: figures.as_ref().map(|figures| figures.elapsed_s),
            cpu_near_s: figures.as_ref().and_then(|figures| figures.cpu_near_s),
            cpu_far_s: figures.as_ref().and_then(|figures| figures.cpu_far_s),
            circumstances: Circumstances::now(),
        }
    }
}
