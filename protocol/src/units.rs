//! The checked units every other module speaks in: rates, sides, directions, codes.
//! No arithmetic of a particular controller or codec lives here.

use std::{fmt, time::Duration};

use thiserror::Error;

/// Largest value a variable-length integer carries on the wire, 2^62 - 1 (spec/01-packet.md).
pub const MAX_VARINT: u64 = (1 << 62) - 1;

/// A number does not fit a variable-length integer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("value exceeds 2^62 - 1")]
pub struct OutOfRange;

/// A rate in whole bytes per second.
///
/// A rate and not a period, so that cutting it never rounds: at 10 Gbit/s one packet lasts
/// 1.2 us and a period kept in whole microseconds is 40 % off after one step.
///
/// ```
/// use std::time::Duration;
///
/// use rp_protocol::units::Bandwidth;
///
/// let line = Bandwidth::from_bits_per_second(100_000_000);
/// assert_eq!(line.bytes_in(Duration::from_millis(200)), 2_500_000);
/// assert_eq!(line.time_for(1250), Duration::from_micros(100));
/// assert_eq!(line.scaled(0.956).to_string(), "95.6 Mbit/s");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bandwidth(u64);

impl Bandwidth {
    /// No data at all.
    pub const ZERO: Self = Self(0);
    /// No limit.
    pub const MAX: Self = Self(u64::MAX);

    /// A rate of `bytes` per second.
    pub const fn from_bytes_per_second(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A rate of `bits` per second, rounded down to whole bytes.
    pub const fn from_bits_per_second(bits: u64) -> Self {
        Self(bits / 8)
    }

    /// The rate at which `bytes` take `interval`; `None` for an empty interval.
    pub fn from_delivery(bytes: u64, interval: Duration) -> Option<Self> {
        let nanos = interval.as_nanos();
        if nanos == 0 {
            return None;
        }
        let rate = u128::from(bytes) * 1_000_000_000 / nanos;
        Some(Self(u64::try_from(rate).unwrap_or(u64::MAX)))
    }

    /// Whole bytes per second.
    pub const fn bytes_per_second(self) -> u64 {
        self.0
    }

    /// Bits per second, saturating.
    pub const fn bits_per_second(self) -> u64 {
        self.0.saturating_mul(8)
    }

    /// How long `bytes` last at this rate, rounded up to a nanosecond; saturates at
    /// [`Duration::MAX`] for a rate of zero.
    pub fn time_for(self, bytes: u64) -> Duration {
        if self.0 == 0 {
            return Duration::MAX;
        }
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.0));
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// How many whole bytes fit into `interval`, saturating.
    pub fn bytes_in(self, interval: Duration) -> u64 {
        let bytes = u128::from(self.0) * interval.as_nanos() / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// This rate times `factor`; negative and NaN factors give zero, overflow saturates.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "float-to-integer casts saturate, which is the documented behaviour"
    )]
    pub fn scaled(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor) as u64)
    }
}

impl fmt::Display for Bandwidth {
    /// Decimal multiples of bit/s with three significant digits: `95.6 Mbit/s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits_per_second() as f64;
        let (value, unit) = match bits {
            b if b >= 1e9 => (b / 1e9, "Gbit/s"),
            b if b >= 1e6 => (b / 1e6, "Mbit/s"),
            b if b >= 1e3 => (b / 1e3, "kbit/s"),
            b => (b, "bit/s"),
        };
        let decimals = match value {
            v if v >= 100.0 => 0,
            v if v >= 10.0 => 1,
            _ => 2,
        };
        write!(f, "{value:.decimals$} {unit}")
    }
}

/// Which end of a connection this is; it decides the parity of stream ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that sent the first packet.
    Client,
    /// The end that answered it.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Whether data flows one way or both ways in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    /// Both ends send.
    Bi,
    /// Only the opener sends.
    Uni,
}

/// An application's reason for closing a connection, resetting or stopping a stream: 0 to 2^62 - 1.
///
/// ```
/// use rp_protocol::units::CloseCode;
///
/// assert_eq!(CloseCode::from_u32(7), CloseCode::try_from(7_u64)?);
/// assert!(CloseCode::try_from(1_u64 << 62).is_err());
/// # Ok::<(), rp_protocol::units::OutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u64);

impl CloseCode {
    /// A code known at compile time to fit.
    pub const fn from_u32(code: u32) -> Self {
        Self(code as u64)
    }

    /// The number as it stands on the wire.
    pub const fn into_inner(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for CloseCode {
    type Error = OutOfRange;

    fn try_from(code: u64) -> Result<Self, OutOfRange> {
        if code > MAX_VARINT {
            Err(OutOfRange)
        } else {
            Ok(Self(code))
        }
    }
}

impl From<u32> for CloseCode {
    fn from(code: u32) -> Self {
        Self::from_u32(code)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The two ECN bits of an IP header (RFC 3168 section 5), where they are not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EcnCodepoint {
    /// ECN-capable transport, codepoint 0: what RPP sends.
    Ect0,
    /// ECN-capable transport, codepoint 1.
    Ect1,
    /// Congestion experienced.
    Ce,
}
