//! Network namespaces of the lab: made, entered by threads and programs, and removed, also after a
//! killed run. The devices inside are made in `tun`.
//!
//! A namespace's name carries the process that made it and that process's start time, so that the next
//! run can tell leftovers from the namespaces of a run in progress.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::Path,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread::{self, JoinHandle},
};

use rustix::{
    process::geteuid,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::process::ProcessId;

/// What every namespace of the lab is called first.
const PREFIX: &str = "rplab";

/// Where `ip netns` keeps its handles.
const HANDLES: &str = "/run/netns";

/// Why no TUN device can be put into a namespace here, in words for the user; `None` if one can.
pub fn unavailable() -> Option<&'static str> {
    no_namespaces().or_else(|| {
        let is_missing = !Path::new("/dev/net/tun").exists();
        is_missing.then_some("this machine has no /dev/net/tun")
    })
}

/// Why no namespace can be made here, in words for the user; `None` if one can.
pub(crate) fn no_namespaces() -> Option<&'static str> {
    if !geteuid().is_root() {
        Some("needs root")
    } else if ip(&["-V"]).is_err() {
        Some("the program `ip` is missing (package iproute2)")
    } else {
        None
    }
}

/// A number no other lab of this process has: several may live in one.
pub(crate) fn next_serial() -> u64 {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// A network namespace that lives as long as this value.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace; `label` tells it from the others of this process.
    pub fn create(label: &str) -> io::Result<Self> {
        let own = ProcessId::own()
            .ok_or_else(|| io::Error::other("this process is not listed in /proc"))?;
        let name = format!("{PREFIX}-{own}-{label}");
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run a program inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `ip` on the inside.
    pub fn ip(&self, arguments: &[&str]) -> io::Result<Output> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        ip(&all)
    }

    /// Runs `work` on a thread of its own, whose sockets and devices belong to the namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<JoinHandle<io::Result<T>>> {
        let handle = File::open(Path::new(HANDLES).join(&self.name))?;
        thread::Builder::new()
            .name(self.name.clone())
            .spawn(move || {
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))?;
                work()
            })
    }

    /// Like [`spawn`](Self::spawn), but waits for the outcome.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        join(self.spawn(work)?)
    }

    /// Sets a kernel variable inside, such as `net/ipv4/tcp_congestion_control`.
    pub fn set(&self, variable: &str, value: &str) -> io::Result<()> {
        let path = Path::new("/proc/sys").join(variable);
        let value = value.to_owned();
        self.run(move || fs::write(path, value))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failure leaves the namespace to the next run or the clean-up command.
        let _ = remove(&self.name);
    }
}

/// The outcome of a thread that [`Namespace::spawn`] started.
pub fn join<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread
        .join()
        .map_err(|_| io::Error::other("a thread of the lab panicked"))?
}

/// Removes the namespaces of runs that ended without doing so; says which.
pub fn clean() -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in existing()? {
        if is_leftover(&name) {
            remove(&name)?;
            removed.push(name);
        }
    }
    Ok(removed)
}

/// Removes what this process has made, for an end that does not come by dropping everything.
pub fn remove_own() {
    let own = ProcessId::own();
    for name in existing().unwrap_or_default() {
        if own.is_some() && owner(&name) == own {
            // A failure leaves it to the next run or the clean-up command.
            let _ = remove(&name);
        }
    }
}

/// All namespaces of the lab, of whatever run.
pub fn existing() -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(HANDLES) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn remove(name: &str) -> io::Result<()> {
    let inside = ip(&["netns", "pids", name])?;
    for line in String::from_utf8_lossy(&inside.stdout).lines() {
        // The lab's own threads may stand inside; they end by themselves.
        if let Ok(number) = line.trim().parse()
            && number != std::process::id()
            && let Some(process) = ProcessId::of(number)
        {
            process.kill();
        }
    }
    ip(&["netns", "del", name]).map(|_| ())
}

/// The process in a namespace's name; `None` if the name is not the lab's.
fn owner(name: &str) -> Option<ProcessId> {
    let rest = name.strip_prefix(PREFIX)?.strip_prefix('-')?;
    let (label, _) = rest.match_indices('-').nth(1)?;
    rest[..label].parse().ok()
}

fn is_leftover(name: &str) -> bool {
    owner(name).is_some_and(|owner| !owner.is_alive())
}

/// Runs `ip`; a failure carries what it said.
fn ip(arguments: &[&str]) -> io::Result<Output> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        Ok(output)
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!(
            "`ip {}` failed: {}",
            arguments.join(" "),
            said.trim()
        )))
    }
}

#[cfg(test)]
mod tests;
