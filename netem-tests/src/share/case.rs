//! Who shares a link, as typed: `rpcp+4xtcp-cubic`, `rpcp+tcp-bbr@10` (which starts 10 s later),
//! `rpcp+rpcp~100ms` (whose round trip is 100 ms longer).

use std::{fmt, str::FromStr, time::Duration};

use crate::quantity::Time;

/// Most flows of a case.
const MOST_FLOWS: usize = 64;

/// Most that a round trip may be longer.
const LONGEST_EXTRA: Duration = Duration::from_secs(10);

/// Groups of like flows.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq)]
struct Group {
    count: usize,
    peer: String,
    extra: Duration,
    start_s: f64,
}

/// One of those who share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The implementation's name.
    pub peer: String,
    /// When it starts.
    pub start: Duration,
    /// By how much its round trip is longer than the link's.
    pub extra: Duration,
}

impl Case {
    /// All flows, one by one.
    pub fn flows(&self) -> Vec<Member> {
        self.groups
            .iter()
            .flat_map(|group| {
                let member = Member {
                    peer: group.peer.clone(),
                    start: Duration::from_secs_f64(group.start_s),
                    extra: group.extra,
                };
                std::iter::repeat_n(member, group.count)
            })
            .collect()
    }

    /// Names of the implementations.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| group.peer.as_str())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups.iter().enumerate() {
            if index > 0 {
                f.write_str("+")?;
            }
            if group.count > 1 {
                write!(f, "{}x", group.count)?;
            }
            f.write_str(&group.peer)?;
            if !group.extra.is_zero() {
                write!(f, "~{}ms", group.extra.as_secs_f64() * 1e3)?;
            }
            if group.start_s > 0.0 {
                write!(f, "@{}", group.start_s)?;
            }
        }
        Ok(())
    }
}

/// The text is no case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseError(String);

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not flows such as `rpcp+4xtcp-cubic`, `rpcp+tcp-bbr@10` or `rpcp+rpcp~100ms`, at \
             most {MOST_FLOWS}",
            self.0
        )
    }
}

impl std::error::Error for CaseError {}

impl FromStr for Case {
    type Err = CaseError;

    fn from_str(text: &str) -> Result<Self, CaseError> {
        let wrong = || CaseError(text.to_owned());
        let groups: Option<Vec<Group>> = text.split('+').map(group).collect();
        let case = Self {
            groups: groups.ok_or_else(wrong)?,
        };
        let count: usize = case.groups.iter().map(|group| group.count).sum();
        if count > MOST_FLOWS {
            return Err(wrong());
        }
        Ok(case)
    }
}

fn group(text: &str) -> Option<Group> {
    let (text, start_s) = match text.split_once('@') {
        Some((text, start)) => (text, start.parse().ok()?),
        None => (text, 0.0),
    };
    let (text, extra) = match text.split_once('~') {
        Some((text, extra)) => (text, extra.parse::<Time>().ok()?.0),
        None => (text, Duration::ZERO),
    };
    // A name may have an `x` of its own.
    let counted = text.split_once('x').and_then(|(count, peer)| {
        let count: usize = count.parse().ok()?;
        Some((count, peer))
    });
    let (count, peer) = counted.unwrap_or((1, text));
    let is_good = (1..=MOST_FLOWS).contains(&count)
        && !peer.is_empty()
        && (0.0..=3600.0).contains(&start_s)
        && extra <= LONGEST_EXTRA;
    is_good.then(|| Group {
        count,
        peer: peer.to_owned(),
        extra,
        start_s,
    })
}
