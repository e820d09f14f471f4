//! The product's programs: building them, starting them, hearing what they say, ending them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::process::{Child, Command};

use super::leftovers::note_process;

/// Lines of a program's output shown when something failed.
const LAST_WORDS: usize = 20;

/// Where the programs are.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) rpserver: PathBuf,
    pub(super) rpclient: PathBuf,
    pub(super) rpcp: PathBuf,
}

impl Programs {
    /// Ready-made programs.
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self {
            rpserver: folder.join("rpserver"),
            rpclient: folder.join("rpclient"),
            rpcp: folder.join("rpcp"),
        }
    }
}

/// The part of cargo's JSON messages that names what was built.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Builds the programs with the cargo that runs us, or the one on the path.
pub(super) async fn build() -> anyhow::Result<Programs> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // This package is selected too, so that its dependencies' features are those it was built with
    // itself, and nothing but the programs is compiled again.
    let output = Command::new(&cargo)
        .args(["build", "--release", "--package", "rp-cli"])
        .args(["--package", env!("CARGO_PKG_NAME")])
        .args(["--bin", "rpserver", "--bin", "rpclient", "--bin", "rpcp"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", Path::new(&cargo).display()))?;
    ensure!(
        output.status.success(),
        "the programs do not build; see above"
    );
    let built: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .collect();
    let find = |name: &str| {
        built
            .iter()
            .find(|path| path.file_stem().is_some_and(|stem| stem == name))
            .cloned()
            .with_context(|| format!("cargo built no program `{name}`"))
    };
    Ok(Programs {
        rpserver: find("rpserver")?,
        rpclient: find("rpclient")?,
        rpcp: find("rpcp")?,
    })
}

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
