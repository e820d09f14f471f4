//! How much memory a program may use for what it carries: what was said, or a part of what the machine has. What
//! is done with each part of it lives with those who have it.

use std::{
    fs,
    path::PathBuf,
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rp_protocol::config::EndpointConfig;
use rp_proxy::pace::Pace;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// The part of the machine's memory, as a divisor, that is used where nothing was said.
const PART: u64 = 4;

/// The least and the most that is used where nothing was said. The most is a full window for each of sixteen
/// connections.
const UNSAID: (u64, u64) = (64 << 20, 4 << 30);

/// What arrived and was not read pins up to twice its size, in buffers that hold several packets: windows get half of
/// what there is for it.
const PINNED: u64 = 2;

/// The most that a new stream's window is, as where there is memory in plenty.
const FIRST_WINDOW: u64 = 8 << 20;

/// A connection gets one of so many parts of a budget.
const ONE_OF: u64 = 8;

/// The least that can be said: every connection needs some to go on.
const LEAST: u64 = 16 << 20;

/// How long a look at what the process has counts.
const LOOK: Duration = Duration::from_millis(100);

/// Memory for what a program carries: what peers may send that nobody has read, and what was written to them
/// and not acknowledged.
///
/// It is not all that a program uses: connections and streams have some of their own, a few KiB each. Past the
/// budget windows shrink, writers wait and newcomers are taken on slowly; nothing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBudget(u64);

/// Why a text is no amount of memory.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{:?} is not an amount of memory of 16M or more; write 512M or 1.5G", .0)]
pub struct MemoryError(String);

impl MemoryBudget {
    /// A part of what the machine has, or the control group we are in.
    pub fn of_machine() -> Self {
        let (least, most) = UNSAID;
        let limit = machine_bytes().into_iter().chain(group_bytes()).min();
        Self(limit.map_or(most, |bytes| (bytes / PART).clamp(least, most)))
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The settings of a server's endpoint that may use it: half for what comes, half for what goes.
    pub fn server(self) -> EndpointConfig {
        let half = self.0 / 2;
        EndpointConfig::default()
            .receive_budget(half / PINNED)
            .send_budget(half)
    }

    /// Those of an endpoint for one connection that is begun here.
    pub fn client(self) -> EndpointConfig {
        // Of what is for all connections one gets an eighth.
        self.server().receive_budget(self.0 / 2 / PINNED * ONE_OF)
    }

    /// How fast newcomers are taken on: slowly while the process has more in RAM than it had when this was made,
    /// and the budget.
    pub fn pace(self) -> Pace {
        let pressure = Pressure::above(self.0 + resident_bytes().unwrap_or(0));
        Pace::slow_while(move || pressure.is_high(Instant::now(), resident_bytes))
    }

    /// What a peer may send on a new stream of a client before it hears from us.
    pub fn first_window(self) -> u64 {
        // A connection begins with twice as much, which is not to be more than it may have at all.
        FIRST_WINDOW.min(self.0 / 2 / PINNED / 2)
    }
}

impl FromStr for MemoryBudget {
    type Err = MemoryError;

    /// A number with an optional fraction and a binary multiple: `k M G T`, with `i`, `B` or `iB` behind it as
    /// one likes.
    fn from_str(text: &str) -> Result<Self, MemoryError> {
        bytes(text.trim())
            .filter(|&bytes| bytes >= LEAST)
            .map(Self)
            .ok_or_else(|| MemoryError(text.chars().take(32).collect()))
    }
}

/// Whether the process has more in RAM than it should, looked at now and then.
#[derive(Debug)]
struct Pressure {
    limit: u64,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Pressure {
    const fn above(limit: u64) -> Self {
        Self {
            limit,
            last: Mutex::new(None),
        }
    }

    fn is_high(&self, now: Instant, resident: impl FnOnce() -> Option<u64>) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((at, is_high)) if now < at + LOOK => is_high,
            _ => {
                let is_high = resident().is_some_and(|bytes| bytes > self.limit);
                *last = Some((now, is_high));
                is_high
            }
        }
    }
}

/// Bytes of this process in RAM.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "whole bytes are meant, and they are fewer than 2^50"
)]
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let number: f64 = number.parse().ok()?;
    let unit = unit
        .trim_start()
        .trim_end_matches('B')
        .trim_end_matches('i');
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    let bytes = number * (1_u64 << shift) as f64;
    // A petabyte is a slip of the finger.
    (bytes < 1e15).then_some(bytes as u64)
}

/// What the machine has. A unit that sees nothing of `/proc` but processes (`ProcSubset=pid`) still sees its nodes.
fn machine_bytes() -> Option<u64> {
    let all = fs::read_to_string("/proc/meminfo").ok();
    all.and_then(|text| total(&text)).or_else(|| {
        let nodes = fs::read_dir("/sys/devices/system/node").ok()?;
        let nodes = nodes.flatten().map(|node| node.path().join("meminfo"));
        let bytes: u64 = nodes
            .filter_map(|path| total(&fs::read_to_string(path).ok()?))
            .sum();
        (bytes > 0).then_some(bytes)
    })
}

/// What stands behind `MemTotal:`, in bytes.
fn total(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("MemTotal:")?;
    let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// The limits of the control group we are in, and of those above it (cgroups(7), version 2).
fn group_bytes() -> Vec<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else {
        return Vec::new();
    };
    let root = PathBuf::from("/sys/fs/cgroup");
    let group = root.join(path.trim_start_matches('/'));
    group
        .ancestors()
        .take_while(|folder| folder.starts_with(&root))
        .filter_map(|folder| fs::read_to_string(folder.join("memory.max")).ok())
        // A group without a limit says `max`.
        .filter_map(|limit| limit.trim().parse().ok())
        .collect()
}
