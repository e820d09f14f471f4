//! When memory that is no longer used goes back to the system. How is `rp_trim`'s business, how much may be used
//! `memory`'s.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::{runtime::Handle, task::spawn_blocking, time::sleep};

use crate::memory::resident_bytes;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(10);

/// So many tasks that have ended, about one for each connection, are worth the time: they had 3 KB each.
const TASKS: usize = 500;

/// So much more memory than there was after the last time is worth it, once it grows no longer.
const BYTES: u64 = 8 << 20;

/// Growth from one look to the next that counts as none.
const STILL: u64 = 1 << 20;

/// What a process has at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    tasks: usize,
    resident_bytes: u64,
}

impl Look {
    fn now() -> Self {
        Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            resident_bytes: resident_bytes().unwrap_or(0),
        }
    }
}

/// What was seen since memory was given back last.
#[derive(Clone, Copy, Debug)]
struct Seen {
    most_tasks: usize,
    least_bytes: u64,
    last_bytes: u64,
}

impl Seen {
    const fn first(look: Look) -> Self {
        Self {
            most_tasks: look.tasks,
            least_bytes: look.resident_bytes,
            last_bytes: look.resident_bytes,
        }
    }

    /// Whether there should be something to give back: many connections have ended, or what a transfer needed
    /// is still there.
    fn is_due(&mut self, look: Look) -> bool {
        let is_still = look.resident_bytes.abs_diff(self.last_bytes) < STILL;
        self.most_tasks = self.most_tasks.max(look.tasks);
        self.least_bytes = self.least_bytes.min(look.resident_bytes);
        self.last_bytes = look.resident_bytes;
        let has_ended = look.tasks + TASKS <= self.most_tasks;
        has_ended || (is_still && look.resident_bytes >= self.least_bytes + BYTES)
    }
}

/// Gives memory back when there should be enough of it. Ends only if dropped.
pub async fn keep_small() {
    let mut seen = Seen::first(Look::now());
    loop {
        sleep(LOOK).await;
        if seen.is_due(Look::now()) {
            // Milliseconds, in which no connection may stand still.
            let _ = spawn_blocking(rp_trim::trim).await;
            seen = Seen::first(Look::now());
        }
    }
}
