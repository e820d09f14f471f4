//! The product's programs as files: where they are, and how they are built. Starting them is the
//! matter of whoever needs them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) rpserver: PathBuf,
    pub(crate) rpclient: PathBuf,
    pub(crate) rpcp: PathBuf,
}

impl Programs {
    /// Ready-made programs.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        // They are started in folders of their own. A name that cannot be made absolute fails when the
        // program is started, which says so with the name.
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
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
pub(crate) fn build() -> anyhow::Result<Programs> {
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
        .output()
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
