//! One transfer of a grid, as it is kept, and the figures that follow from it.

use serde::{Deserialize, Serialize};

use crate::{
    implementation::Figures,
    record::{Circumstances, Outcome},
    scenario::Scenario,
};

/// Payload of a full packet of TCP with timestamps: the yardstick for all alike.
pub const PAYLOAD_SHARE: f64 = 1448.0 / 1500.0;

/// One transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// The link's name.
    pub scenario: String,
    /// Its properties.
    pub link: LinkFacts,
    /// Who sent.
    pub peer: String,
    /// How it was set.
    pub settings: String,
    /// Of its program or library; empty if it was not to be had.
    pub version: String,
    /// From 0.
    pub repetition: u32,
    /// Of the link's chances.
    pub seed: u64,
    /// At full rate the link carries `bytes` in this time.
    pub seconds: f64,
    /// How much was sent.
    pub bytes: u64,
    /// When it was cut off.
    pub limit_s: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// Absent if nothing could be measured.
    pub figures: Option<Figures>,
    /// Where and when.
    pub circumstances: Circumstances,
}

/// A link, as far as tables need it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkFacts {
    /// Bits per second before any step.
    pub rate_bits: f64,
    /// Without queues.
    pub round_trip_ms: f64,
    /// Mean share of packets lost towards far.
    pub loss: f64,
    /// Towards near.
    pub loss_back: f64,
    /// Buffer towards far; absent without a limit in bytes.
    pub buffer_bytes: Option<u64>,
}

impl LinkFacts {
    /// Of a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let (forward, back) = (&scenario.forward, &scenario.back);
        Self {
            rate_bits: forward
                .rate()
                .map_or(0.0, |rate| rate.bits_per_second() as f64),
            round_trip_ms: (forward.delay() + back.delay()).as_secs_f64() * 1e3,
            loss: forward.loss_model().mean(),
            loss_back: back.loss_model().mean(),
            buffer_bytes: forward.queue_bytes(),
        }
    }

    /// The goodput nobody can pass, in bits per second.
    pub fn limit_bits(&self) -> f64 {
        self.rate_bits * (1.0 - self.loss) * PAYLOAD_SHARE
    }
}

/// What tells a run from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    scenario: String,
    peer: String,
    /// Whole milliseconds, so that it can be compared.
    seconds_ms: u64,
    repetition: u32,
}

impl Key {
    /// Of a run yet to be made.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "float-to-integer casts saturate"
    )]
    pub fn new(scenario: &str, peer: &str, seconds: f64, repetition: u32) -> Self {
        Self {
            scenario: scenario.to_owned(),
            peer: peer.to_owned(),
            seconds_ms: (seconds * 1e3).round() as u64,
            repetition,
        }
    }
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "grid";

    /// What tells it from others; a later record of the same key replaces it.
    pub fn key(&self) -> Key {
        Key::new(&self.scenario, &self.peer, self.seconds, self.repetition)
    }

    /// Whether it went wrong; being cut off is no failure.
    pub fn has_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed { .. })
    }

    pub(super) fn goodput_bits(&self) -> Option<f64> {
        let figures = self.figures.as_ref().filter(|_| !self.has_failed())?;
        Some(figures.bytes as f64 * 8.0 / figures.elapsed_s.max(1e-9))
    }

    /// Of the limit.
    pub(super) fn ratio(&self) -> Option<f64> {
        Some(self.goodput_bits()? / self.link.limit_bits())
    }

    /// IP bytes towards far for each byte that arrived.
    pub(super) fn wire_share(&self) -> Option<f64> {
        let figures = self.figures.as_ref().filter(|figures| figures.bytes > 0)?;
        Some(figures.wire_forward_bytes as f64 / figures.bytes as f64)
    }

    /// Seconds of both sides for each gigabyte that arrived.
    pub(super) fn cpu_per_gb(&self) -> Option<f64> {
        let figures = self.figures.as_ref().filter(|figures| figures.bytes > 0)?;
        Some((figures.cpu_near_s? + figures.cpu_far_s?) * 1e9 / figures.bytes as f64)
    }

    /// One line for whoever waits.
    pub fn brief(&self) -> String {
        let end = match &self.outcome {
            Outcome::Complete => "complete".to_owned(),
            Outcome::CutOff => "cut off".to_owned(),
            Outcome::Failed { reason } => return format!("FAILED: {reason}"),
        };
        format!(
            "{:.1} Mbit/s, {:.0} % of the limit, {:.3} wire bytes a byte, queue {:.0} ms, {end}",
            self.goodput_bits().unwrap_or_default() / 1e6,
            self.ratio().unwrap_or_default() * 100.0,
            self.wire_share().unwrap_or(f64::NAN),
            self.figures.as_ref().map_or(0.0, |f| f.queue_mean_ms),
        )
    }
}
