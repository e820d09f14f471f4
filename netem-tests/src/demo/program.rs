//! Running programs of the demo: starting them, hearing what they say, ending them. Building them is in
//! `programs` above.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use tokio::process::{Child, Command};

use crate::leftovers::note_process;

/// Lines of a program's output shown when something failed.
const LAST_WORDS: usize = 20;

/// A running program, killed when dropped.
#[derive(Debug)]
pub(super) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `path` with `folder` as its home and no other environment, so that nothing of the user's
    /// is read or written.
    pub(super) fn start(path: &Path, folder: &Path, arguments: &[&OsStr]) -> anyhow::Result<Self> {
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let child = Command::new(path)
            .args(arguments)
            .env_clear()
            .env("HOME", folder)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", path.display()))?;
        if let Some(number) = child.id() {
            note_process(folder, &name, number)?;
        }
        Ok(Self { name, child, log })
    }

    /// Waits for its end.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Its last lines.
    pub(super) fn said(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LAST_WORDS);
        if lines.is_empty() {
            "  (nothing)".to_owned()
        } else {
            lines[from..]
                .iter()
                .map(|line| format!("  {line}"))
                .collect::<Vec<_>>()
                .join("\n")
        }
    }

    /// How it ended and what it said, if it has ended.
    pub(super) fn obituary(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!(
            "{} ended ({status}); it said:\n{}",
            self.name,
            self.said()
        ))
    }
}
