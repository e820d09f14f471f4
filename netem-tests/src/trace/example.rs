//! The committed example: one lossy transfer in virtual time, traced and drawn. How it is read stands in
//! the report (`report::trace`).

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use rp_protocol::config::TransportConfig;

use super::{Recorder, plot, read::Trace};
use crate::{
    quantity::Size,
    record::{Circumstances, Journal, Outcome},
    report::trace::Record,
    scenario::Scenario,
    world::World,
};

/// Traces the transfer of `size` over `scenario` and writes `trace.svg` and its record into `results`.
///
/// # Errors
/// Something cannot be written, or nothing happens that could be drawn.
pub fn make(scenario: &Scenario, size: Size, seed: u64, results: &Path) -> anyhow::Result<Record> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let path = folder.path().join("example.sqlog");
    let recorder = Arc::new(Recorder::new(&path)?);
    let mut world = World::new(scenario.forward.clone(), scenario.back.clone(), seed);
    let transport = TransportConfig::default().tracer(Some(recorder.clone()));
    let pair = world.add_transfer(size.0, transport)?;
    world.run(Duration::from_secs(60), |world| {
        world.completed_after(pair).is_some()
    });
    let took = world.completed_after(pair);
    let elapsed = took.unwrap_or_else(|| world.elapsed());
    drop(world);
    ensure!(recorder.finish()?.len() == 1, "no connection came up");
    let trace = Trace::load(&path)?;
    fs::create_dir_all(results)?;
    let svg = plot::svg(&trace, 0.0..f64::INFINITY)?;
    let picture = results.join("trace.svg");
    fs::write(&picture, svg).with_context(|| format!("cannot write {}", picture.display()))?;
    let record = Record {
        kind: Record::KIND.to_owned(),
        scenario: scenario.name.clone(),
        about: scenario.about.clone(),
        bytes: size.0,
        seed,
        outcome: match took {
            Some(_) => Outcome::Complete,
            None => Outcome::CutOff,
        },
        elapsed_s: elapsed.as_secs_f64(),
        summary: trace.summary(),
        trace_bytes: fs::metadata(&path)?.len(),
        circumstances: Circumstances::now(),
    };
    Journal::open(&results.join(Record::KIND).with_extension("jsonl"))?.append(&record)?;
    Ok(record)
}
