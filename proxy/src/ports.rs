//! Sets of TCP ports as users name them: `443`, `80,8000-8999`, or all.
//! What is decided by them lives with whoever asks.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use thiserror::Error;

/// The word for every port.
const ALL: &str = "all";

/// A set of ports, empty by default.
///
/// ```
/// use rp_proxy::ports::PortSet;
///
/// let ports: PortSet = "443,8000-8999".parse()?;
/// assert!(ports.contains(8080) && !ports.contains(22));
/// # Ok::<(), rp_proxy::ports::PortSetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet(Vec<RangeInclusive<u16>>);

impl PortSet {
    /// Every port.
    pub fn all() -> Self {
        Self(vec![1..=u16::MAX])
    }

    /// Whether `port` is among them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }
}

/// Text that is no set of ports.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is neither a port nor a range of them: write 443, 443,8000-8999 or all")]
pub struct PortSetError(String);

impl FromStr for PortSet {
    type Err = PortSetError;

    /// Ports and ranges with commas between them, or `all`.
    fn from_str(text: &str) -> Result<Self, PortSetError> {
        if text == ALL {
            return Ok(Self::all());
        }
        let part = |part: &str| {
            range(part.trim()).ok_or_else(|| PortSetError(part.chars().take(64).collect()))
        };
        text.split(',')
            .map(part)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A port, or several in a row, `8000-8999`; 0 is none.
pub(crate) fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(first..=last)
}

fn port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|_| is_number)?;
    (port != 0).then_some(port)
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all() {
            return f.write_str(ALL);
        }
        for (at, range) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_what_they_say() {
        let ports: PortSet = "22, 8000-8002".parse().unwrap();
        let members: Vec<_> = (0..=u16::MAX)
            .filter(|&port| ports.contains(port))
            .collect();
        assert_eq!(members, [22, 8000, 8001, 8002]);
        assert_eq!(ports.to_string(), "22,8000-8002");
    }

    #[test]
    fn all_is_every_port_but_zero() {
        let ports: PortSet = "all".parse().unwrap();
        assert!(ports.contains(1) && ports.contains(u16::MAX) && !ports.contains(0));
        assert_eq!(ports.to_string(), "all");
        assert!(!PortSet::default().contains(443));
    }

    #[test]
    fn what_names_no_ports_is_refused() {
        for text in [
            "", "0", "http", "1-", "-1", "9-8", "65536", "1,,2", "+1", "1-2-3",
        ] {
            assert!(text.parse::<PortSet>().is_err(), "{text:?}");
        }
    }
}
