//! Control groups (cgroups(7), version 2): what a set of programs and all their children have used of
//! the processor, and a way to end them all. Where the machine has none, nothing is counted.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::process::ProcessId;

/// What every group of the lab is called first.
const PREFIX: &str = "rplab-";

/// How long killed programs may take to be gone.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A group of processes that lasts as long as this value, and its processes no longer.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
}

impl Group {
    /// Makes a group; `label` tells it from the others of this process. `None` where there are none.
    pub(crate) fn create(label: &str) -> Option<Self> {
        let path = root()?.join(format!("{PREFIX}{}-{label}", ProcessId::own()?));
        fs::create_dir(&path).ok()?;
        Some(Self { path })
    }

    /// The file into which a process writes `0` to join.
    pub(crate) fn process_list(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Processor time of all that ever were in the group, user and system.
    pub(crate) fn used(&self) -> Option<Duration> {
        let text = fs::read_to_string(self.path.join("cpu.stat")).ok()?;
        usage(&text)
    }

    /// Ends everything in the group.
    pub(crate) fn kill(&self) {
        // Without such a file (Linux before 5.14) the namespaces' removal ends them.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What stays is left to the next run or the clean-up command.
        let _ = end(&self.path);
    }
}

fn usage(cpu_stat: &str) -> Option<Duration> {
    let micros = cpu_stat
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(Duration::from_micros(micros.trim().parse().ok()?))
}

/// Removes the groups of the processes meant; says whose they were.
pub(crate) fn remove(is_meant: impl Fn(ProcessId) -> bool) -> io::Result<Vec<ProcessId>> {
    let mut owners = Vec::new();
    let Some(root) = root() else {
        return Ok(owners);
    };
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let owner = owner(&entry.file_name().to_string_lossy());
        if let Some(owner) = owner.filter(|owner| is_meant(*owner)) {
            end(&entry.path())?;
            owners.push(owner);
        }
    }
    Ok(owners)
}

/// The process in a group's name; `None` if the group is not the lab's.
fn owner(name: &str) -> Option<ProcessId> {
    let (process, _label) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    process.parse().ok()
}

/// Kills what is inside and removes the group.
fn end(path: &Path) -> io::Result<()> {
    let _ = fs::write(path.join("cgroup.kill"), "1");
    let began = Instant::now();
    loop {
        match fs::remove_dir(path) {
            // Killed processes take a moment to leave.
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && began.elapsed() < TIMEOUT =>
            {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            outcome => return outcome,
        }
    }
}

/// Where the one hierarchy of version 2 is mounted.
fn root() -> Option<PathBuf> {
    mount_point(&fs::read_to_string("/proc/self/mounts").ok()?)
}

fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_beside_those_of_version_1() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = mount_point(mounts);
        assert_eq!(found, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn time_used_is_read_to_the_microsecond() {
        let text = "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n";
        assert_eq!(usage(text), Some(Duration::from_micros(1_234_567)));
        assert_eq!(usage("nr_periods 0\n"), None);
    }

    #[test]
    fn a_group_names_its_process() {
        let own = ProcessId::own().unwrap();
        assert_eq!(owner(&format!("rplab-{own}-3.near")), Some(own));
        assert_eq!(owner("system.slice"), None);
    }
}
