//! What proxies cost: processor time of the near and the far program while one client downloads at all the rate
//! a link has. Records and their table are in `report::proxies`.
//!
//! A program's time is the kernel's own count for its process, from the start of the download to its last byte;
//! what the kernel does in the emulator's thread is in nobody's figure.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use rp_protocol::units::Bandwidth;

use crate::{
    implementation::{self, Implementation, Job, Kit, PORT, Stage, Task, check, window},
    leftovers,
    link::LinkConfig,
    loss::Loss,
    netns,
    record::{Circumstances, Journal, Outcome},
    report::proxies::{Measured, Record},
    scenario::Scenario,
    tun::TunLab,
};

/// A pair of programs between a client and its server.
#[derive(Clone, Copy, Debug)]
struct Pair {
    /// Of `implementation::ALL`.
    implementation: &'static str,
    /// Where the data comes from.
    sender: &'static str,
    /// Where it goes.
    receiver: &'static str,
}

/// All that are compared, ours first.
const PAIRS: [Pair; 3] = [
    Pair {
        implementation: "rpclient-curl",
        sender: "rpserver",
        receiver: "rpclient",
    },
    Pair {
        implementation: "kcptun",
        sender: "kcptun-client",
        receiver: "kcptun-server",
    },
    Pair {
        implementation: "shadowsocks-rust",
        sender: "ssserver",
        receiver: "sslocal",
    },
];

/// What to run: every pair over every loss.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the link.
    pub rate: Bandwidth,
    /// Without queues.
    pub round_trip: Duration,
    /// Shares of packets lost, each way.
    pub losses: Vec<f64>,
    /// What is downloaded takes so long at the link's rate.
    pub seconds: f64,
    /// Of the link's chances.
    pub seed: u64,
    /// Where the records go.
    pub out: PathBuf,
}

/// Measures one after another until `is_stopped`; `tell` hears of each as it comes. Says whether all were
/// measured.
///
/// # Errors
/// This machine has no namespaces, or records cannot be written. A run that goes wrong is a record.
pub fn run(
    options: &Options,
    kit: &Kit,
    is_stopped: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(&Record),
) -> anyhow::Result<bool> {
    if let Some(reason) = netns::unavailable() {
        anyhow::bail!("nothing can be measured here: {reason}");
    }
    leftovers::clean()?;
    let mut journal = Journal::open(&options.out)?;
    let mut is_good = true;
    for &loss in &options.losses {
        for pair in &PAIRS {
            let record = options.measure(pair, loss, kit)?;
            if is_stopped() {
                return Ok(false);
            }
            is_good &= !matches!(record.outcome, Outcome::Failed { .. });
            journal.append(&record)?;
            tell(&record);
        }
    }
    Ok(is_good)
}

impl Options {
    fn measure(&self, pair: &Pair, loss: f64, kit: &Kit) -> anyhow::Result<Record> {
        let implementation = implementation::find(pair.implementation)
            .with_context(|| format!("there is no implementation {}", pair.implementation))?;
        let version = implementation
            .install(kit)
            .and_then(|()| implementation.version(kit));
        let measured = version
            .as_ref()
            .map_err(|error| anyhow::anyhow!("not to be had: {error:#}"))
            .and_then(|_| self.transfer(pair, implementation, loss, kit));
        let (outcome, measured) = match measured {
            Ok((outcome, measured)) => (outcome, Some(measured)),
            Err(error) => {
                let reason = format!("{error:#}");
                (Outcome::Failed { reason }, None)
            }
        };
        Ok(Record {
            kind: Record::KIND.to_owned(),
            proxy: pair.implementation.to_owned(),
            settings: implementation.about().to_owned(),
            version: version.unwrap_or_default(),
            sender: pair.sender.to_owned(),
            receiver: pair.receiver.to_owned(),
            rate_bits: self.rate.bits_per_second(),
            round_trip_ms: self.round_trip.as_secs_f64() * 1e3,
            loss,
            seed: self.seed,
            outcome,
            measured,
            circumstances: Circumstances::now(),
        })
    }

    fn transfer(
        &self,
        pair: &Pair,
        implementation: &dyn Implementation,
        loss: f64,
        kit: &Kit,
    ) -> anyhow::Result<(Outcome, Measured)> {
        let scenario = self.scenario(loss);
        let bytes = self.rate.bytes_in(Duration::from_secs_f64(self.seconds));
        let job = Job {
            scenario: &scenario,
            bytes,
            limit: Duration::from_secs_f64(self.seconds * 1.5),
            seed: self.seed,
        };
        let stage = Stage::<TunLab>::set(kit, &scenario, self.seed, false)?;
        if let Some(congestion) = implementation.congestion() {
            stage.use_congestion(congestion)?;
        }
        let (source, digest) = kit.source(bytes)?;
        let recipe = implementation.recipe(&Task {
            kit,
            folder: stage.folder(),
            source: &source,
            bytes,
            rate: self.rate,
            round_trip: self.round_trip,
            window: window(&scenario.forward, &scenario.back)?,
            port: PORT,
        })?;
        let mut run = stage.begin(&recipe, "0")?;
        let used = |run: &implementation::Run| -> anyhow::Result<[Duration; 2]> {
            Ok([
                run.processor_time(pair.sender)?,
                run.processor_time(pair.receiver)?,
            ])
        };
        let before = used(&run)?;
        run.start(&stage, &recipe)?;
        let (outcome, bytes, elapsed) = run.watch(&job, recipe.progress())?;
        let after = used(&run)?;
        let outcome = check(outcome, recipe.progress(), digest)?;
        let report = stage.lab().report();
        Ok((
            outcome,
            Measured {
                bytes,
                elapsed_s: elapsed.as_secs_f64(),
                sender_cpu_s: (after[0].saturating_sub(before[0])).as_secs_f64(),
                receiver_cpu_s: (after[1].saturating_sub(before[1])).as_secs_f64(),
                wire_forward_bytes: report.forward.offered_bytes,
                late_p99_us: report.late_p99.as_secs_f64() * 1e6,
            },
        ))
    }

    fn scenario(&self, loss: f64) -> Scenario {
        let link = LinkConfig::new(self.rate, self.round_trip / 2)
            .loss(Loss::bernoulli(loss))
            .mtu(1500);
        Scenario {
            name: "proxies".to_owned(),
            about: "the link of the proxies' comparison".to_owned(),
            forward: link.clone(),
            back: link,
            cross: Vec::new(),
            budget: None,
        }
    }
}
