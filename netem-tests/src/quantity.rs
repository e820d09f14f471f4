//! Rates, sizes, times and shares as people write them in scenarios: `100Mbit`, `64KB`, `50ms`, `1%`.
//! The programs' own command lines are parsed elsewhere.

use std::{fmt, str::FromStr, time::Duration};

use rp_protocol::units::Bandwidth;
use serde::{Deserialize, Deserializer, de};

use crate::queue::QueueLimit;

/// Why a quantity could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantityError {
    text: String,
    wanted: &'static str,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.text, self.wanted)
    }
}

impl std::error::Error for QuantityError {}

/// A rate: a number and `bit`, `kbit`, `Mbit` or `Gbit` (with or without `/s`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub Bandwidth);

/// A time: a number and `us`, `ms` or `s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A number of bytes: a number and `B`, `KB`, `MB` or `GB` (decimal).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// A share: a number and `%`, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

/// A queue's limit: a time, a size, a number and `BDP`, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Queue(pub QueueLimit);

/// Splits `12.5 Mbit` into its number and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start()))
}

/// Reads a number whose unit stands in `units`, and scales it.
fn scaled(text: &str, units: &[(&str, f64)], wanted: &'static str) -> Result<f64, QuantityError> {
    split(text)
        .and_then(|(number, unit)| {
            let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
            Some(number * factor)
        })
        .ok_or_else(|| QuantityError {
            text: text.to_owned(),
            wanted,
        })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "float-to-integer casts saturate, and `split` admits no sign"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

impl FromStr for Rate {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = [("bit", 1.0), ("kbit", 1e3), ("Mbit", 1e6), ("Gbit", 1e9)];
        let bare = text.trim().trim_end_matches("/s");
        scaled(bare, &units, "a rate such as `100Mbit`")
            .map(|bits| Self(Bandwidth::from_bits_per_second(whole(bits))))
            .map_err(|error| QuantityError {
                text: text.to_owned(),
                ..error
            })
    }
}

impl FromStr for Time {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = [("us", 1e3), ("ms", 1e6), ("s", 1e9)];
        scaled(text, &units, "a time such as `50ms`")
            .map(|nanos| Self(Duration::from_nanos(whole(nanos))))
    }
}

impl FromStr for Size {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = [("B", 1.0), ("KB", 1e3), ("MB", 1e6), ("GB", 1e9)];
        scaled(text, &units, "a size such as `64KB`").map(|bytes| Self(whole(bytes)))
    }
}

impl FromStr for Share {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wanted = "a share from `0%` to `100%`";
        let share = scaled(text, &[("%", 0.01)], wanted)?;
        if share > 1.0 {
            return Err(QuantityError {
                text: text.to_owned(),
                wanted,
            });
        }
        Ok(Self(share))
    }
}

impl FromStr for Queue {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let limit = if text.trim() == "unlimited" {
            Some(QueueLimit::Unlimited)
        } else if let Ok(factor) = scaled(text, &[("BDP", 1.0)], "") {
            Some(QueueLimit::Bdp(factor))
        } else if let Ok(Time(time)) = text.parse() {
            Some(QueueLimit::Time(time))
        } else {
            text.parse()
                .ok()
                .map(|Size(bytes)| QueueLimit::Bytes(bytes))
        };
        limit.map(Self).ok_or_else(|| QuantityError {
            text: text.to_owned(),
            wanted: "a queue such as `1BDP`, `50ms`, `64KB` or `unlimited`",
        })
    }
}

macro_rules! deserialize_from_text {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

deserialize_from_text!(Rate, Time, Size, Share, Queue);

#[cfg(test)]
mod tests;
