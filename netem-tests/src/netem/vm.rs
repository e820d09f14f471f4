//! This program again, under a kernel that has netem: what `scripts/netem-vm` boots in an emulated machine.
//! What it does there is the caller's matter; it answers in lines. Its clock counts instructions, so that what it
//! measures does not depend on how fast or how busy this machine is.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};

/// Set for everything that runs in the emulated machine.
const MARK: &str = "RAPIDPATH_NETEM_VM";

/// Time the machine gets to boot, on top of what its command may take.
const BOOT: Duration = Duration::from_secs(90);

/// What a second of its clock may take here. It is more while 50 Mbit/s are sent, but few use up their limit.
const SLOWNESS: u32 = 3;

/// Whether this program runs in the emulated machine.
pub fn is_inside() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Reads files once in the emulated machine, which keeps them. Later it would wait for this machine's disk, with
/// nothing to do, and so with a clock that races.
///
/// # Errors
/// One cannot be read.
pub fn read_ahead(files: &[&Path]) -> io::Result<()> {
    for file in files {
        io::copy(&mut File::open(file)?, &mut io::sink())?;
    }
    Ok(())
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
    /// Longest time the command may take by the machine's clock, once it runs.
    pub limit: Duration,
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
    let seconds = (machine.limit * SLOWNESS + BOOT).as_secs().to_string();
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "bash"])
        .arg(script())
        .args(["-t", &seconds])
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
