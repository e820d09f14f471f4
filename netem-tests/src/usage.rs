//! What a process of ours holds and has used, from /proc.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;

/// What a process holds at one moment, and has used up to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Memory in RAM.
    pub(crate) rss_bytes: u64,
    /// Processor time of all its threads that still run.
    pub(crate) processor: Duration,
    /// Open files, sockets among them.
    pub(crate) descriptors: u64,
}

impl Usage {
    /// Of the process with this number.
    ///
    /// # Errors
    /// It has ended, or belongs to somebody else.
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let status = fs::read_to_string(folder.join("status"))?;
        let rss_kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
            .context("a process without memory")?
            .parse()?;
        let mut processor_ns = 0;
        // To the nanosecond: the ticks of `stat` miss what wakes up for less than one.
        for task in fs::read_dir(folder.join("task"))? {
            // A thread may end meanwhile.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            let ran = text.split_whitespace().next();
            processor_ns += ran.map_or(Ok(0), str::parse::<u64>)?;
        }
        Ok(Self {
            rss_bytes: rss_kib << 10,
            processor: Duration::from_nanos(processor_ns),
            descriptors: fs::read_dir(folder.join("fd"))?.count() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_time_and_descriptors() {
        let own = std::process::id();
        let before = Usage::of(own).unwrap();
        let file = fs::File::open("/proc/self/status").unwrap();
        let block = vec![1_u8; 32 << 20];
        let after = Usage::of(own).unwrap();
        assert!(after.rss_bytes >= before.rss_bytes + (16 << 20));
        assert!(after.processor > before.processor);
        assert!(after.descriptors > before.descriptors || cfg!(not(target_os = "linux")));
        drop((file, block));
    }
}
