//! The options before a key in `authorized_keys`. Which key they are for is not known here.

use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use ipnet::IpNet;
use rp_protocol::units::Bandwidth;

use super::{Forwarding, PermitListen, PermitOpen};
use crate::{address, pattern::wildcard, rate};

#[cfg(test)]
mod tests;

/// What the options of one line say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) expiry: Option<SystemTime>,
    /// Each must let the source pass.
    pub(super) from: Vec<Sources>,
    targets: Vec<PermitOpen>,
    pub(super) listeners: Vec<PermitListen>,
    is_no_forwarding: bool,
    pub(super) root: Option<PathBuf>,
    pub(super) is_read_only: bool,
    pub(super) rate: Option<Bandwidth>,
    /// What it may say that connections come from.
    pub(super) proxy_source: Option<Sources>,
}

impl Options {
    /// The options in `text`, separated by commas; the reason to refuse the key if one of them is
    /// not understood.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let name_len = rest.find(['=', ',']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(name_len);
            let (value, after) = match after.strip_prefix('=') {
                Some(after) => {
                    let (value, after) = quoted(after)
                        .ok_or_else(|| format!("the value of {} is not quoted", shown(name)))?;
                    (Some(value), after)
                }
                None => (None, after),
            };
            rest = match after.strip_prefix(',') {
                Some("") => return Err("nothing follows the last comma".to_owned()),
                Some(after) => after,
                None if after.is_empty() => after,
                None => return Err(format!("no comma after the option {}", shown(name))),
            };
            options.set(&name.to_ascii_lowercase(), value.as_deref())?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        match (name, value) {
            ("expiry-time", Some(value)) => {
                let expiry = time(value)
                    .ok_or_else(|| format!("expiry-time {} is not a time", shown(value)))?;
                // Where there are several, the earliest counts, as in sshd.
                self.expiry = Some(self.expiry.map_or(expiry, |other| other.min(expiry)));
            }
            ("from", Some(value)) => self.from.push(Sources::parse("from", value)?),
            ("permitopen", Some(value)) => self.targets.push(target(value)?),
            ("permitlisten", Some(value)) => self.listeners.push(listener(value)?),
            // As in sshd the last of them counts. Of what `restrict` takes away only forwarding is
            // there to be taken.
            ("no-port-forwarding" | "restrict", None) => self.is_no_forwarding = true,
            ("port-forwarding", None) => self.is_no_forwarding = false,
            ("read-only", None) => self.is_read_only = true,
            ("root", Some(value)) => {
                let root = PathBuf::from(value);
                if !root.is_absolute() || self.root.is_some() {
                    return Err("root must be one absolute path".to_owned());
                }
                self.root = Some(root);
            }
            ("proxy-source", Some(value)) => {
                if self.proxy_source.is_some() {
                    return Err("there is more than one proxy-source".to_owned());
                }
                self.proxy_source = Some(Sources::parse("proxy-source", value)?);
            }
            ("rate", Some(value)) => {
                let rate = rate::parse(value).map_err(|error| error.to_string())?;
                self.rate = Some(self.rate.map_or(rate, |other| other.min(rate)));
            }
            (name, None) if WITHOUT_EFFECT.contains(&name) => {}
            (name, Some(_)) if WITHOUT_EFFECT_VALUED.contains(&name) => {}
            (name, None) if VALUED.contains(&name) || WITHOUT_EFFECT_VALUED.contains(&name) => {
                return Err(format!("the option {name} needs a value"));
            }
            (name, Some(_)) if FLAGS.contains(&name) || WITHOUT_EFFECT.contains(&name) => {
                return Err(format!("the option {name} takes no value"));
            }
            _ => return Err(refused(name)),
        }
        Ok(())
    }

    pub(super) fn forwarding(&self) -> Forwarding {
        if self.is_no_forwarding {
            Forwarding::None
        } else if self.targets.is_empty() {
            Forwarding::Any
        } else {
            Forwarding::Only(self.targets.clone())
        }
    }
}

/// Options without a value that mean something here.
const FLAGS: [&str; 4] = [
    "no-port-forwarding",
    "port-forwarding",
    "read-only",
    "restrict",
];

/// Options with a value that mean something here.
const VALUED: [&str; 7] = [
    "expiry-time",
    "from",
    "permitlisten",
    "permitopen",
    "proxy-source",
    "rate",
    "root",
];

/// Options of sshd(8) that give or take what a server without sessions does not have.
const WITHOUT_EFFECT: [&str; 9] = [
    "agent-forwarding",
    "no-agent-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "pty",
    "user-rc",
    "x11-forwarding",
];

/// The same, with a value.
const WITHOUT_EFFECT_VALUED: [&str; 2] = ["environment", "tunnel"];

/// Why the option `name` refuses its key.
fn refused(name: &str) -> String {
    let why = match name {
        "command" => "this server runs no commands, and the key is for one command only",
        "cert-authority" | "principals" => "certificates are not understood",
        "verify-required" => "it is about FIDO keys, which are not understood",
        _ => return format!("unknown option {}", shown(name)),
    };
    format!("the option {name}: {why}")
}

/// The file's words, fit for a log.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("`{}`", short.escape_debug())
}

/// The value in quotation marks that `text` begins with, and what follows it. `\"` stands for a
/// quotation mark; any other backslash for itself.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match (c, chars.peek()) {
            ('"', _) => return Some((value, &text[at + 1..])),
            ('\\', Some((_, '"'))) => {
                value.push('"');
                chars.next();
            }
            _ => value.push(c),
        }
    }
    None
}

/// The `host:port` of `permitopen`, with `*` for any host or any port.
fn target(text: &str) -> Result<PermitOpen, String> {
    let (host, port) = host_and_port(text)
        .ok_or_else(|| format!("permitopen {} is not host:port", shown(text)))?;
    Ok(PermitOpen { host, port })
}

/// The `[host:]port` of `permitlisten`, with `*` for any host or any port; loopback where no host is named.
fn listener(text: &str) -> Result<PermitListen, String> {
    let wrong = || format!("permitlisten {} is not [host:]port", shown(text));
    let (host, port) = match text.contains(':') {
        true => host_and_port(text).ok_or_else(wrong)?,
        false => ("localhost".to_owned(), port(text).ok_or_else(wrong)?),
    };
    Ok(PermitListen { host, port })
}

/// `host:port` or `[address]:port`; the host in lower case, `None` for the port `*`.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, digits) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        // More colons are an address without its brackets: its last group would be the port.
        None if host.contains(':') => return None,
        None => host,
    };
    // A name is not a pattern, in sshd neither; only a `*` by itself means any.
    let is_literal = host == "*" || !host.contains('*');
    let port = port(digits)?;
    let host = match host.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => host.to_ascii_lowercase(),
    };
    (!host.is_empty() && is_literal).then_some((host, port))
}

/// A port, `None` for `*`.
fn port(text: &str) -> Option<Option<u16>> {
    match text {
        "*" => Some(None),
        _ => address::port(text).filter(|&port| port > 0).map(Some),
    }
}

/// Addresses as `from` lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(Vec<(bool, Pattern)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Net(IpNet),
    /// `*` and `?` over the address as it is written.
    Text(String),
}

impl Sources {
    /// Those in the value of `option`.
    fn parse(option: &str, text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|item| {
                let item = item.trim();
                let (is_allowed, pattern) = match item.strip_prefix('!') {
                    Some(pattern) => (false, pattern),
                    None => (true, item),
                };
                Ok((is_allowed, Pattern::parse(option, pattern)?))
            })
            .collect::<Result<_, String>>()
            .map(Self)
    }

    /// Whether one of the patterns fits `source` and none that begins with `!` does.
    pub(super) fn contains(&self, source: IpAddr) -> bool {
        let mut fitting = self.0.iter().filter(|(_, pattern)| pattern.fits(source));
        fitting.clone().any(|(is_allowed, _)| *is_allowed)
            && fitting.all(|(is_allowed, _)| *is_allowed)
    }
}

impl Pattern {
    fn parse(option: &str, text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(address.to_canonical().into()));
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return if net == net.trunc() {
                Ok(Self::Net(net))
            } else {
                Err(format!("{option} {} has bits beyond its mask", shown(text)))
            };
        }
        let is_address = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '*' | '?');
        if text.contains(['*', '?']) && text.chars().all(is_address) {
            return Ok(Self::Text(text.to_ascii_lowercase()));
        }
        Err(format!(
            "{option} {} is not an address; host names are not looked up",
            shown(text)
        ))
    }

    fn fits(&self, source: IpAddr) -> bool {
        match self {
            Self::Net(net) => net.contains(&source),
            Self::Text(pattern) => wildcard(pattern.as_bytes(), source.to_string().as_bytes()),
        }
    }
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS` in UTC, with or without a `Z`.
///
/// sshd takes a time without `Z` for local time; a server has no business with time zones, so it
/// is UTC here.
fn time(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if ![8, 12, 14].contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let field = |from: usize, to: usize| text.get(from..to).map_or(Some(0), |f| f.parse().ok());
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    let is_date = year >= 1970 && (1..=12).contains(&month) && day >= 1;
    if !is_date || day > month_len(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days_of_years = (1970..year).map(year_len).sum::<u64>();
    let days_of_months = (1..month).map(|month| month_len(year, month)).sum::<u64>();
    let days = days_of_years + days_of_months + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn year_len(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn month_len(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
