//! Telling processes apart across runs: a process number alone is used again.

use std::{fmt, fs, str::FromStr};

use rustix::process::{Pid, Signal, kill_process};

/// A process by its number and the time it began, in clock ticks after boot.
///
/// Written `123-456`, so that it fits into names of namespaces and folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    number: u32,
    began: u64,
}

impl ProcessId {
    /// This process; `None` if it is not listed in /proc.
    pub(crate) fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// The process that has this number at the moment.
    pub(crate) fn of(number: u32) -> Option<Self> {
        Some(Self {
            number,
            began: start_time(number)?,
        })
    }

    pub(crate) fn is_alive(self) -> bool {
        start_time(self.number) == Some(self.began)
    }

    /// Ends the process, if it still is the one meant.
    pub(crate) fn kill(self) {
        let number = i32::try_from(self.number).ok().and_then(Pid::from_raw);
        if let Some(number) = number.filter(|_| self.is_alive()) {
            // It may have ended by itself in between.
            let _ = kill_process(number, Signal::KILL);
        }
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.began)
    }
}

/// The text is no process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoProcessId;

impl FromStr for ProcessId {
    type Err = NoProcessId;

    fn from_str(text: &str) -> Result<Self, NoProcessId> {
        let (number, began) = text.split_once('-').ok_or(NoProcessId)?;
        Ok(Self {
            number: number.parse().map_err(|_| NoProcessId)?,
            began: began.parse().map_err(|_| NoProcessId)?,
        })
    }
}

/// When a process began; `None` if there is none, or one that has ended and that nobody has asked for yet
/// (proc_pid_stat(5), fields 3 and 22).
fn start_time(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field may hold spaces and parentheses; the third follows the last `)`.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_only_with_its_own_beginning() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        assert_eq!(own.to_string().parse(), Ok(own));
        let other = ProcessId {
            began: own.began + 1,
            ..own
        };
        assert!(!other.is_alive());
        // Would end this test if it mistook the one for the other.
        other.kill();
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive_though_nobody_has_asked_for_it() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let id = ProcessId::of(child.id()).unwrap();
        child.kill().unwrap();
        while id.is_alive() {
            std::thread::yield_now();
        }
        assert_eq!(
            child.try_wait().unwrap().map(|status| status.success()),
            Some(false)
        );
    }
}
