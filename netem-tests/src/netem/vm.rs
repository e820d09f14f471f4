//! This program again, under a kernel that has netem: what `scripts/netem-vm` boots in an emulated machine.
//! What it does there is the caller's matter; it answers in lines.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};

/// Set for everything that runs in the emulated machine.
const MARK: &str = "RAPIDPATH_NETEM_VM";

/// Time the machine gets to boot, on top of what its command may take.
const BOOT: Duration = Duration::from_secs(90);

/// Whether this program runs in the emulated machine.
pub fn is_inside() -> bool {
    std::env::var_os(MARK).is_some()
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/netem-vm")
}

/// Fetches and builds what is missing; says which kernel it will be.
///
/// # Errors
/// Something cannot be had here; the text says what.
pub fn prepare() -> anyhow::Result<String> {
    let output = Command::new("bash")
        .arg(script())
        .arg("--prepare")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run bash")?;
    ensure!(
        output.status.success(),
        "the emulated machine cannot be prepared; see above"
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How the machine is run.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// Longest time the command may take, once it runs.
    pub limit: Duration,
    /// Above everything else that runs here, so that its clock stays right on a busy machine.
    pub is_real_time: bool,
    /// Where its temporary files are made.
    pub folder: &'a Path,
}

/// Runs this program with `arguments` in the machine, and hands over each line it prints. The machine dies
/// with this thread.
///
/// # Errors
/// The machine did not boot, the command failed, or a line was refused.
pub fn run(
    arguments: &[OsString],
    machine: Machine<'_>,
    on_line: &mut dyn FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let own = std::env::current_exe()?;
    let seconds = (machine.limit + BOOT).as_secs().to_string();
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "bash"])
        .arg(script())
        .args(["-t", &seconds])
        .args(machine.is_real_time.then_some("-r"))
        .arg(own)
        .args(arguments)
        .env("TMPDIR", machine.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run setpriv (package util-linux)")?;
    let lines = child
        .stdout
        .take()
        .map(BufReader::new)
        .context("the machine's output is not piped")?;
    let mut outcome = Ok(());
    for line in lines.lines() {
        let line = line.context("the machine's output broke off")?;
        if outcome.is_ok() && !line.trim().is_empty() {
            outcome = on_line(line.trim());
        }
    }
    let status = child.wait()?;
    outcome?;
    ensure!(
        status.success(),
        "the emulated machine or its command failed ({status}); see above"
    );
    Ok(())
}
