//! The demo's result, as figures and as the table people read.

use std::{fmt, time::Duration};

use crate::{link::LinkConfig, scenario::Scenario, tcp::Transfer};

/// What TCP with timestamps carries of a full packet: the yardstick for every row alike.
const PAYLOAD_SHARE: f64 = 1448.0 / 1500.0;

/// All rows over one link.
#[derive(Debug)]
pub struct Table {
    link: LinkConfig,
    round_trip: Duration,
    /// One for each way to move the bytes.
    pub rows: Vec<Row>,
}

/// One way to move the bytes.
#[derive(Debug)]
pub struct Row {
    /// What moved them.
    pub name: String,
    /// How it went.
    pub outcome: Outcome,
}

/// How one way went.
#[derive(Debug)]
pub enum Outcome {
    /// Bytes arrived.
    Measured {
        /// How many.
        bytes: u64,
        /// In how long, from the start of the program or connection.
        elapsed: Duration,
        /// What can be said about them.
        verdict: Verdict,
    },
    /// Nothing was tried, and why.
    NotMeasured(String),
}

/// What can be said about bytes that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The digest is that of the source.
    Equal,
    /// The digest is another.
    Differs,
    /// All arrived; a digest was not asked for.
    Complete,
    /// The time limit ended it.
    CutOff,
}

impl Outcome {
    pub(super) fn measured(bytes: u64, elapsed: Duration, is_equal: bool) -> Self {
        Self::Measured {
            bytes,
            elapsed,
            verdict: if is_equal {
                Verdict::Equal
            } else {
                Verdict::Differs
            },
        }
    }

    pub(super) fn yardstick(transfer: &Transfer) -> Self {
        Self::Measured {
            bytes: transfer.bytes,
            elapsed: transfer.elapsed,
            verdict: if transfer.is_complete {
                Verdict::Complete
            } else {
                Verdict::CutOff
            },
        }
    }
}

impl Table {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            link: scenario.forward.clone(),
            round_trip: 2 * scenario.forward.delay(),
            rows: Vec::new(),
        }
    }

    /// Whether every digest that was compared is right.
    pub fn is_right(&self) -> bool {
        self.rows.iter().all(|row| {
            !matches!(
                row.outcome,
                Outcome::Measured {
                    verdict: Verdict::Differs,
                    ..
                }
            )
        })
    }

    /// The goodput no transport can pass, in bits per second; `None` for a link without a rate.
    fn limit_bits(&self) -> Option<f64> {
        let rate = self.link.rate()?.bits_per_second() as f64;
        Some(rate * (1.0 - self.link.loss_model().mean()) * PAYLOAD_SHARE)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(rate), Some(queue)) = (self.link.rate(), self.link.queue_bytes()) {
            writeln!(
                f,
                "link   {rate}, {} ms round trip, {} % loss each way, {} KB of buffer",
                self.round_trip.as_millis(),
                self.link.loss_model().mean() * 100.0,
                queue / 1000
            )?;
        }
        let limit = self.limit_bits();
        if let Some(limit) = limit {
            writeln!(
                f,
                "limit  {:.1} Mbit/s = rate x (1 - loss) x 1448/1500\n",
                limit / 1e6
            )?;
        }
        writeln!(
            f,
            "{:<27}{:>9}{:>9}{:>15}{:>10}  digest",
            "", "size", "time", "goodput", "of limit"
        )?;
        for row in &self.rows {
            row.write(f, limit)?;
        }
        Ok(())
    }
}

impl Row {
    fn write(&self, f: &mut fmt::Formatter<'_>, limit: Option<f64>) -> fmt::Result {
        let (bytes, elapsed, verdict) = match &self.outcome {
            Outcome::NotMeasured(reason) => {
                return writeln!(f, "{:<27}  not measured: {reason}", self.name);
            }
            Outcome::Measured {
                bytes,
                elapsed,
                verdict,
            } => (*bytes, elapsed.as_secs_f64(), verdict),
        };
        let goodput = bytes as f64 * 8.0 / elapsed.max(1e-9);
        let share = limit.map_or(0.0, |limit| goodput / limit * 100.0);
        let verdict = match verdict {
            Verdict::Equal => "equal",
            Verdict::Differs => "WRONG",
            Verdict::Complete => "-",
            Verdict::CutOff => "- (cut off)",
        };
        writeln!(
            f,
            "{:<27}{:>6.1} MB{:>7.1} s{:>8.1} Mbit/s{:>8.0} %  {verdict}",
            self.name,
            bytes as f64 / 1e6,
            elapsed,
            goodput / 1e6,
            share
        )
    }
}

#[cfg(test)]
mod tests;
