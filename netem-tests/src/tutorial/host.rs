//! A machine as a tutorial's reader has it: namespaces with a network of their own and this machine's
//! programs, where whatever is written goes with the host.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::leftovers::note_process;

/// Who the reader is.
const USER: &str = "you";

/// What the first process runs.
const FIRST: &str = include_str!("host.sh");

/// Between two looks at what a command that stays has said.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Where Rapidpath is built.
pub(super) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A running host.
#[derive(Debug)]
pub(super) struct Host {
    first: Child,
    name: &'static str,
    folder: PathBuf,
}

/// A command that keeps running on a host, and ends with it.
#[derive(Debug)]
pub(super) struct Staying {
    child: Child,
    output: PathBuf,
}

impl Host {
    /// Starts one whose files are in `folder`, with our programs from `programs`.
    pub(super) fn start(
        name: &'static str,
        folder: &Path,
        programs: &Path,
    ) -> anyhow::Result<Self> {
        let root = folder.join(name);
        fs::create_dir(&root)?;
        let mut first = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--uts",
                "--ipc",
                "--fork",
                "--kill-child",
            ])
            .args(["bash", "-c", FIRST, "host"])
            .arg(&root)
            .arg(programs)
            .args([name, USER])
            .arg(sources())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join(format!("{name}.err")))?)
            .spawn()
            .context("cannot run unshare (Debian package util-linux)")?;
        note_process(folder, &format!("host-{name}"), first.id())?;
        let mut line = String::new();
        if let Some(output) = first.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let host = Self {
            first,
            name,
            folder: folder.to_owned(),
        };
        let said = fs::read_to_string(folder.join(format!("{name}.err")))?;
        ensure!(line == "ready\n", "the host {name} does not start: {said}");
        Ok(host)
    }

    /// The process whose namespaces the host is.
    pub(super) fn inside(&self) -> anyhow::Result<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.first.id());
        let children = fs::read_to_string(children)?;
        let first = children.split_whitespace().next();
        let first = first.with_context(|| format!("the host {} has ended", self.name))?;
        Ok(first.parse()?)
    }

    /// A command that runs the shell script on its input, as root or as the reader.
    fn shell(&self, is_root: bool) -> anyhow::Result<Command> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.inside()?));
        command.args(["--mount", "--net", "--pid", "--uts", "--ipc", "--root"]);
        let home = match is_root {
            true => "/root".to_owned(),
            false => format!("/home/{USER}"),
        };
        if !is_root {
            command.args(["runuser", "-u", USER, "--"]);
        }
        // A session of its own: no question gets to the terminal of whoever runs this.
        command.args(["setsid", "--wait", "bash", "-e", "-o", "pipefail"]);
        command
            .env_clear()
            .env("HOME", &home)
            .env("USER", if is_root { "root" } else { USER })
            .env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"))
            .env("LANG", "C.UTF-8")
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            );
        Ok(command)
    }

    /// Runs `script` to its end, or for `limit`; says how it ended and what it said.
    pub(super) fn run(
        &self,
        script: &str,
        is_root: bool,
        limit: Duration,
    ) -> anyhow::Result<(Option<ExitStatus>, String)> {
        let mut staying = self.spawn(script, is_root, "run")?;
        let began = Instant::now();
        loop {
            let ended = staying.child.try_wait()?;
            if ended.is_some() || began.elapsed() > limit {
                return Ok((ended, staying.said()?));
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Starts `script`; what it says goes to a file with `label` in its name.
    pub(super) fn spawn(
        &self,
        script: &str,
        is_root: bool,
        label: &str,
    ) -> anyhow::Result<Staying> {
        let stem = format!("{}-{label}", self.name);
        let (input, output) = (
            self.folder.join(format!("{stem}.sh")),
            self.folder.join(format!("{stem}.out")),
        );
        fs::write(&input, script)?;
        let out = File::create(&output)?;
        // The script is an argument, so that its commands cannot read the rest of it as their input.
        let child = self
            .shell(is_root)?
            .args(["-c", &format!("cd\n{script}")])
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("cannot run nsenter (Debian package util-linux)")?;
        note_process(&self.folder, &stem, child.id())?;
        Ok(Staying { child, output })
    }
}

impl Staying {
    /// What it has said so far.
    pub(super) fn said(&self) -> anyhow::Result<String> {
        let bytes = fs::read(&self.output)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until `is_ready` finds what it looks for in what was said.
    pub(super) fn wait(
        &mut self,
        limit: Duration,
        mut is_ready: impl FnMut(&str) -> bool,
    ) -> anyhow::Result<bool> {
        let began = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            if is_ready(&self.said()?) {
                return Ok(true);
            }
            if ended.is_some() || began.elapsed() > limit {
                return Ok(false);
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        // What it started ends with the host at the latest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}
