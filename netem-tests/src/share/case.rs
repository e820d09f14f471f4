//! Who shares a link, as typed: `rpcp+4xtcp-cubic`, `rpcp+tcp-bbr@10` (which starts 10 s later).

use std::{fmt, str::FromStr, time::Duration};

/// Most flows of a case.
const MOST_FLOWS: usize = 64;

/// Groups of like flows.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq)]
struct Group {
    count: usize,
    peer: String,
    start_s: f64,
}

impl Case {
    /// Each flow's rival and start.
    pub fn flows(&self) -> Vec<(String, Duration)> {
        self.groups
            .iter()
            .flat_map(|group| {
                let start = Duration::from_secs_f64(group.start_s);
                std::iter::repeat_n((group.peer.clone(), start), group.count)
            })
            .collect()
    }

    /// Names of the rivals.
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
            "`{}` is not flows such as `rpcp+4xtcp-cubic` or `rpcp+tcp-bbr@10`, at most {MOST_FLOWS}",
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
    // A name may have an `x` of its own.
    let counted = text.split_once('x').and_then(|(count, peer)| {
        let count: usize = count.parse().ok()?;
        Some((count, peer))
    });
    let (count, peer) = counted.unwrap_or((1, text));
    let is_good =
        (1..=MOST_FLOWS).contains(&count) && !peer.is_empty() && (0.0..=3600.0).contains(&start_s);
    is_good.then(|| Group {
        count,
        peer: peer.to_owned(),
        start_s,
    })
}
