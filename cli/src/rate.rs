//! Rates as people type them: `200M`, `1.5G`, `25MB/s`, `200Mbit`.
//! What a rate is applied to is told elsewhere.

use rp_protocol::units::Bandwidth;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// Why a text is no rate.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{:?} is not a rate; write 200M or 200Mbit for megabits, 25MB/s for megabytes a second", .0)]
pub struct RateError(String);

/// The rate `text` means: a number with an optional fraction, a decimal (`k M G T`) or binary
/// (`Ki Mi Gi Ti`) multiple, and `b`, `bit`, `bps`, `bit/s` for bits or `B`, `B/s` for bytes.
/// Without a unit it is bits a second.
///
/// # Errors
/// The text is something else, zero, or larger than any link.
pub fn parse(text: &str) -> Result<Bandwidth, RateError> {
    bits_per_second(text.trim())
        .filter(|&bits| bits >= 8.0)
        .map(|bits| Bandwidth::from_bytes_per_second(1).scaled(bits / 8.0))
        .ok_or_else(|| RateError(text.chars().take(32).collect()))
}

fn bits_per_second(text: &str) -> Option<f64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let unit = unit.trim_start();
    let (factor, unit) = multiple(unit);
    let bits = match unit {
        "" | "b" | "bit" | "bits" | "bps" | "b/s" | "bit/s" => 1.0,
        "B" | "B/s" | "Bps" => 8.0,
        _ => return None,
    };
    let rate = number * factor * bits;
    // Beyond a petabit a second it is a slip of the finger.
    (rate <= 1e15).then_some(rate)
}

/// The multiple `unit` begins with, and what follows it.
fn multiple(unit: &str) -> (f64, &str) {
    let mut rest = unit.chars();
    let power = match rest.next() {
        Some('k' | 'K') => 1,
        Some('m' | 'M') => 2,
        Some('g' | 'G') => 3,
        Some('t' | 'T') => 4,
        _ => return (1.0, unit),
    };
    match rest.as_str().strip_prefix('i') {
        Some(rest) => (1024_f64.powi(power), rest),
        None => (1000_f64.powi(power), rest.as_str()),
    }
}
