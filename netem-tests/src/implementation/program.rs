//! An implementation's program while it runs: in which namespace and control group, and what it says.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;

use super::Invocation;
use crate::{cgroup::Group, leftovers::note_process, netns::Namespace};

/// Lines of a program's output shown when something failed.
const LAST_WORDS: usize = 3;

/// How much of a program's output is looked at for its last line.
const TAIL: u64 = 4096;

/// Joins the control group whose process list is `$0`, then becomes the program.
const JOIN: &str = "echo 0 >\"$0\" && exec \"$@\"";

/// In which Linux counts a process's time for all to see: USER_HZ, the same on every machine of ours.
const TICKS_PER_SECOND: u64 = 100;

/// A running program, killed when dropped.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Program {
    /// Starts it with `home` as its home and no other environment, so that nothing of the user's is read
    /// or written.
    pub(super) fn start(
        invocation: &Invocation,
        inside: &Namespace,
        group: Option<&Group>,
        home: &Path,
        label: &str,
    ) -> anyhow::Result<Self> {
        let stem = invocation.program.file_stem().unwrap_or_default();
        let name = stem.to_string_lossy().into_owned();
        let (out, err) = (
            home.join(format!("{label}-{name}.out")),
            home.join(format!("{label}-{name}.err")),
        );
        let mut command = match group {
            Some(group) => {
                let mut command = Command::new("sh");
                command
                    .args(["-c", JOIN])
                    .arg(group.process_list())
                    .arg("ip");
                command
            }
            None => Command::new("ip"),
        };
        let child = command
            .args(["netns", "exec", inside.name()])
            .arg(&invocation.program)
            .args(&invocation.arguments)
            .env_clear()
            .env("HOME", home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(File::create(&out)?)
            .stderr(File::create(&err)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        note_process(home, &format!("{label}-{name}"), child.id())?;
        Ok(Self {
            name,
            child,
            out,
            err,
        })
    }

    /// Of its file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Of its process so far, user and system.
    pub(super) fn processor_time(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let ticks = ticks(&stat).ok_or_else(|| io::Error::other("no times in /proc"))?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The last whole line of its standard output.
    pub(super) fn last_line(&self) -> io::Result<String> {
        let mut file = File::open(&self.out)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        Ok(whole.lines().next_back().unwrap_or_default().to_owned())
    }

    /// Its name and last words, in one line.
    pub(super) fn said(&self) -> String {
        let mut text = fs::read_to_string(&self.err).unwrap_or_default();
        if text.trim().is_empty() {
            text = fs::read_to_string(&self.out).unwrap_or_default();
        }
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let from = lines.len().saturating_sub(LAST_WORDS);
        if lines.is_empty() {
            format!("{} said nothing", self.name)
        } else {
            format!("{} said: {}", self.name, lines[from..].join(" / "))
        }
    }
}

/// Clock ticks a process has used, user and system (proc_pid_stat(5), fields 14 and 15).
fn ticks(stat: &str) -> Option<u64> {
    // The second field may hold spaces and parentheses; the third follows the last `)`.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_name_with_parentheses_and_spaces() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 99 0 0 0 25 17 0 0 20 0 4 0 1234";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S 1"), None);
    }
}
