//! What the two sides of a copy over ssh say to each other before they have a connection: a few lines of text
//! (spec/20-copy.md, "Over ssh"). Text in, values out; who reads and writes it is told elsewhere.

#[cfg(test)]
mod tests;

use std::{fmt::Write as _, net::IpAddr, ops::RangeInclusive, str::FromStr};

use rp_protocol::{config::Policy, crypto::identity::PublicKey, units::Bandwidth};
use rp_transfer::error::printable;
use thiserror::Error;

use crate::openssh;

/// What the first line begins with.
const MARK: &str = "rpcp-ssh";

/// The version of the lines, and of what is said over the connection afterwards.
const VERSION: &str = "1";

/// Bytes of a login shell's own words that are skipped.
const MAX_NOISE: usize = 64 << 10;

/// Longest line: a path, each of its bytes as three letters, and some words before it.
const MAX_LINE: usize = 3 * rp_transfer::path::MAX_PATH + 256;

/// Most places of one copy.
pub(in crate::copy) const MAX_PLACES: usize = 1000;

/// Most lines of a greeting: a place each, and some more that a later version may have.
const MAX_LINES: usize = MAX_PLACES + 64;

/// Why there is no understanding.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum GreetingError {
    /// Something else than our program speaks.
    #[error("it says something else: {0}")]
    Noise(String),
    /// The text ended.
    #[error("it ended before it said all")]
    Ended,
    /// Lines without end.
    #[error("it says too much")]
    TooMuch,
    /// Another version.
    #[error("it speaks version {0} of the greeting, we speak {VERSION}")]
    Version(String),
    /// A line that is not understood.
    #[error("it says what cannot be understood: {0}")]
    Line(String),
    /// A line that is not there.
    #[error("it does not say its {0}")]
    Missing(&'static str),
}

/// What a copy does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::copy) enum Purpose {
    /// Reads what is there.
    Source,
    /// Writes there, or beneath it if it is a folder.
    Target,
    /// Makes or removes the name itself.
    Name,
}

/// A path of the far side, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::copy) struct Place {
    pub(in crate::copy) purpose: Purpose,
    pub(in crate::copy) path: Vec<u8>,
}

/// UDP ports, of which one is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(pub RangeInclusive<u16>);

/// Text that is no range of ports.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("write A-B or one port, of 1 to 65535")]
pub struct PortsError;

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let port = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let port = text.parse().ok().filter(|&port| digits && port != 0);
            port.ok_or(PortsError)
        };
        // mosh has a colon.
        let (first, last) = text
            .split_once(['-', ':'])
            .map_or((text, text), |ports| ports);
        let (first, last): (u16, u16) = (port(first)?, port(last)?);
        match first <= last {
            true => Ok(Self(first..=last)),
            false => Err(PortsError),
        }
    }
}

/// What the client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::copy) struct Hello {
    /// The one key that is to be let in.
    pub(in crate::copy) key: PublicKey,
    /// Where to listen.
    pub(in crate::copy) ports: Option<Ports>,
    /// How the far side sends.
    pub(in crate::copy) policy: Policy,
    /// And how fast at most.
    pub(in crate::copy) rate: Option<Bandwidth>,
    /// How much more than warnings it says.
    pub(in crate::copy) verbose: u8,
    /// What the copy is about.
    pub(in crate::copy) places: Vec<Place>,
}

/// What the far side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    /// The one key to be trusted.
    pub(super) key: PublicKey,
    /// Its UDP port.
    pub(super) port: u16,
    /// The address that ssh's connection arrived at.
    pub(super) address: Option<IpAddr>,
    /// What requests call the places, in their order.
    pub(super) paths: Vec<Vec<u8>>,
}

impl Hello {
    pub(super) fn format(&self) -> String {
        let mut text = format!("{MARK} {VERSION}\nkey {}\n", openssh::format_key(&self.key));
        if let Some(Ports(ports)) = &self.ports {
            let _ = writeln!(text, "ports {}-{}", ports.start(), ports.end());
        }
        let policy = match self.policy {
            Policy::Low => "low",
            Policy::Fixed(_) => "fixed",
            _ => "fair",
        };
        let _ = writeln!(text, "policy {policy}");
        if let Some(rate) = self.rate {
            let _ = writeln!(text, "rate {}", rate.bytes_per_second());
        }
        if self.verbose > 0 {
            let _ = writeln!(text, "verbose {}", self.verbose);
        }
        for place in &self.places {
            let purpose = match place.purpose {
                Purpose::Source => "source",
                Purpose::Target => "target",
                Purpose::Name => "name",
            };
            let _ = writeln!(text, "{purpose} {}", escape(&place.path));
        }
        text + "go\n"
    }

    pub(super) fn parse(lines: &[String]) -> Result<Self, GreetingError> {
        let (mut key, mut policy) = (None, "fair");
        let (mut ports, mut rate, mut verbose) = (None, None, 0);
        let mut places = Vec::new();
        for line in lines {
            let bad = || GreetingError::Line(printable(line.as_bytes()));
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let mut place = |purpose| {
                let path = unescape(rest).ok_or_else(bad)?;
                places.push(Place { purpose, path });
                Ok(())
            };
            match word {
                "key" => key = Some(parse_key(rest).ok_or_else(bad)?),
                "ports" => ports = Some(rest.parse().map_err(|_| bad())?),
                "policy" => policy = rest,
                "rate" => {
                    let bytes = rest.parse().map_err(|_| bad())?;
                    rate = Some(Bandwidth::from_bytes_per_second(bytes));
                }
                "verbose" => verbose = rest.parse().map_err(|_| bad())?,
                "source" => place(Purpose::Source)?,
                "target" => place(Purpose::Target)?,
                "name" => place(Purpose::Name)?,
                //= spec/20-copy.md#over-ssh
                //# A line whose first word is not known MUST be ignored.
                _ => {}
            }
        }
        if places.len() > MAX_PLACES {
            return Err(GreetingError::TooMuch);
        }
        let policy = match (policy, rate) {
            ("low", _) => Policy::Low,
            ("fixed", Some(rate)) => Policy::Fixed(rate),
            _ => Policy::Fair,
        };
        Ok(Self {
            key: key.ok_or(GreetingError::Missing("key"))?,
            ports,
            policy,
            rate,
            verbose,
            places,
        })
    }
}

impl Welcome {
    /// Begins with a line break: a login shell may have printed something without one.
    pub(super) fn format(&self) -> String {
        let key = openssh::format_key(&self.key);
        let mut text = format!("\n{MARK} {VERSION}\nkey {key}\nudp {}\n", self.port);
        if let Some(address) = self.address {
            let _ = writeln!(text, "address {address}");
        }
        for path in &self.paths {
            let _ = writeln!(text, "at {}", escape(path));
        }
        text + "go\n"
    }

    pub(super) fn parse(lines: &[String]) -> Result<Self, GreetingError> {
        let (mut key, mut port, mut address) = (None, None, None);
        let mut paths = Vec::new();
        for line in lines {
            let bad = || GreetingError::Line(printable(line.as_bytes()));
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "key" => key = Some(parse_key(rest).ok_or_else(bad)?),
                "udp" => {
                    let parsed = rest.parse().ok().filter(|&port: &u16| port != 0);
                    port = Some(parsed.ok_or_else(bad)?);
                }
                "address" => address = Some(rest.parse().map_err(|_| bad())?),
                "at" => paths.push(unescape(rest).ok_or_else(bad)?),
                _ => {}
            }
        }
        Ok(Self {
            key: key.ok_or(GreetingError::Missing("key"))?,
            port: port.ok_or(GreetingError::Missing("port"))?,
            address,
            paths,
        })
    }
}

/// Collects the lines of a greeting, from its mark to its end.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    skipped: Vec<u8>,
    skipped_bytes: usize,
    version: Option<String>,
    lines: Vec<String>,
}

impl Lines {
    /// Takes one more byte; the lines between mark and end once they are all there.
    pub(super) fn push(&mut self, byte: u8) -> Result<Option<Vec<String>>, GreetingError> {
        if byte != b'\n' {
            self.line.push(byte);
            return match self.line.len() > MAX_LINE {
                true => Err(self.too_much()),
                false => Ok(None),
            };
        }
        let line = std::mem::take(&mut self.line);
        // A terminal between the two would add it.
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if self.version.is_none() {
            return self.skip(line).map(|()| None);
        }
        match line {
            b"go" => self.end().map(Some),
            line if self.lines.len() < MAX_LINES => {
                self.lines.push(String::from_utf8_lossy(line).into_owned());
                Ok(None)
            }
            _ => Err(GreetingError::TooMuch),
        }
    }

    /// A line before the greeting, or the first one of it.
    fn skip(&mut self, line: &[u8]) -> Result<(), GreetingError> {
        let mark = line.strip_prefix(MARK.as_bytes());
        if let Some(version) = mark.and_then(|rest| rest.strip_prefix(b" ")) {
            self.version = Some(printable(version));
            return Ok(());
        }
        //= spec/20-copy.md#over-ssh
        //# A client MUST skip what comes before the first line, and MUST bound how much it skips.
        self.skipped_bytes += line.len() + 1;
        if self.skipped.len() < 300 {
            self.skipped.extend_from_slice(line);
            self.skipped.push(b' ');
        }
        match self.skipped_bytes > MAX_NOISE {
            true => Err(self.too_much()),
            false => Ok(()),
        }
    }

    fn too_much(&self) -> GreetingError {
        match self.version {
            None => self.noise(),
            Some(_) => GreetingError::TooMuch,
        }
    }

    fn noise(&self) -> GreetingError {
        let said = [&self.skipped[..], &self.line[..]].concat();
        GreetingError::Noise(printable(said.trim_ascii()))
    }

    //= spec/20-copy.md#over-ssh
    //# A side that is told another version than its own MUST NOT go on.
    fn end(&mut self) -> Result<Vec<String>, GreetingError> {
        match self.version.take() {
            Some(version) if version != VERSION => Err(GreetingError::Version(version)),
            _ => Ok(std::mem::take(&mut self.lines)),
        }
    }

    /// Why there will not be a greeting, now that the text has ended.
    pub(super) fn ended(&self) -> GreetingError {
        match self.version.is_none() && self.skipped_bytes + self.line.len() > 0 {
            true => self.noise(),
            false => GreetingError::Ended,
        }
    }
}

fn parse_key(text: &str) -> Option<PublicKey> {
    let (kind, base64) = text.split_once(' ')?;
    openssh::parse_key(kind, base64).ok()
}

/// A path as letters that no line and no shell gives a meaning.
fn escape(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for &byte in path {
        match byte {
            b'-' | b'.' | b'_' | b'/' => text.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            byte => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    crate::copy::location::unescape(text.as_bytes())
}
