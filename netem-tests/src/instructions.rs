//! Instructions of the hot path as a gate: counted by valgrind's callgrind, compared with committed budgets.
//! What is counted is in `rp_protocol::bench`.
//!
//! Wall-clock time on a shared machine says little; counts are the same everywhere, if only that is counted
//! which the machine has no say in: code compiled from Rust. What C libraries and AWS-LC's assembly do is
//! chosen by the processor at run time and is left out, as is everything before and after the work itself.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use rp_protocol::bench::NAMES;
use serde::{Deserialize, Serialize};

/// A count may be so much above its budget; so much below it, the budget is to be lowered.
const TOLERANCE: f64 = 0.05;

/// The function whose instructions are counted, with all it calls.
const COUNTED: &str = "*rp_protocol*bench*Work*run*";

/// What each work may take, by the compiler that was used: another one makes other code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// `rustc --version`'s second word.
    pub rustc: String,
    /// The architecture.
    pub architecture: String,
    /// Instructions of a thousand times.
    pub instructions: BTreeMap<String, u64>,
}

/// How a count stands to its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// About what was expected.
    Kept,
    /// More than allowed.
    Over,
    /// So much less that the budget should be lowered.
    Under,
}

impl Budgets {
    /// Where they are kept.
    pub fn file() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml")
    }

    /// Reads them.
    ///
    /// # Errors
    /// The file is missing, or holds something else.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Counts everything with the compiler at hand.
    ///
    /// # Errors
    /// As [`count`].
    pub fn measure() -> anyhow::Result<Self> {
        let counted = NAMES.map(|name| Ok((name.to_owned(), count(name)?)));
        Ok(Self {
            rustc: compiler()?,
            architecture: std::env::consts::ARCH.to_owned(),
            instructions: counted.into_iter().collect::<anyhow::Result<_>>()?,
        })
    }

    /// Writes them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = format!(
            "# Instructions of a thousand times each, Rust code only, in release builds. Compared by\n\
             # `check instructions`; written by `cargo run --release -p rp-netem-tests --bin instructions -- update`.\n\
             {}",
            toml::to_string(self)?
        );
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Why these budgets say nothing about counts of `other`; `None` if they do.
    pub fn differs(&self, other: &Self) -> Option<String> {
        let of = |budgets: &Self| format!("rustc {} on {}", budgets.rustc, budgets.architecture);
        let (own, other) = (of(self), of(other));
        (own != other).then(|| format!("budgets are of {own}, this is {other}"))
    }

    /// Every work with its count, its budget and how they stand; in the order of names.
    pub fn compare(&self, counted: &Self) -> Vec<(String, u64, Option<u64>, Verdict)> {
        let rows = counted.instructions.iter().map(|(name, &count)| {
            let budget = self.instructions.get(name).copied();
            // Something without a budget is over it.
            let verdict = budget.map_or(Verdict::Over, |budget| judge(count, budget));
            (name.clone(), count, budget, verdict)
        });
        rows.collect()
    }
}

fn judge(count: u64, budget: u64) -> Verdict {
    let ratio = count as f64 / budget.max(1) as f64;
    if ratio > 1.0 + TOLERANCE {
        Verdict::Over
    } else if ratio < 1.0 - TOLERANCE {
        Verdict::Under
    } else {
        Verdict::Kept
    }
}

/// The compiler on the path, which cargo uses as well.
fn compiler() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("--version")
        .output()
        .context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(1).context("no version")?;
    Ok(version.to_owned())
}

/// Runs `instructions run NAME`, this very program, under callgrind.
///
/// # Errors
/// valgrind is missing or fails, or nothing of the work was seen.
pub fn count(name: &str) -> anyhow::Result<u64> {
    let folder = tempfile::tempdir()?;
    let profile = folder.path().join("profile");
    let own = std::env::current_exe().context("cannot find this program")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--demangle=yes"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(own)
        .args(["run", name])
        .stdin(Stdio::null())
        .output()
        .context("cannot run valgrind (Debian package valgrind)")?;
    ensure!(
        output.status.success(),
        "{name}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let profile = fs::read_to_string(&profile).context("valgrind left no profile")?;
    let count = sum(&profile)?;
    ensure!(count > 0, "{name}: nothing of it was counted");
    Ok(count)
}

/// Instructions of functions compiled from Rust, from callgrind's profile format (valgrind manual,
/// "Callgrind Format Specification").
fn sum(profile: &str) -> anyhow::Result<u64> {
    let mut names: BTreeMap<&str, bool> = BTreeMap::new();
    let mut is_rust = false;
    let mut is_call = false;
    let mut total = 0;
    for line in profile.lines() {
        if let Some(function) = line.strip_prefix("fn=") {
            // "(12) name" the first time, "(12)" from then on.
            let (id, name) = function.split_once(' ').unwrap_or((function, ""));
            is_rust = if name.is_empty() {
                *names.get(id).unwrap_or(&false)
            } else {
                is_from_rust(name)
            };
            names.insert(id, is_rust);
        } else if let Some(callee) = line.strip_prefix("cfn=") {
            if let Some((id, name)) = callee.split_once(' ') {
                names.insert(id, is_from_rust(name));
            }
        } else if line.starts_with("calls=") {
            // The next line has what the call cost inside, which the callee has as its own.
            is_call = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            let cost = line.split(' ').nth(1);
            if !std::mem::take(&mut is_call) && is_rust {
                let Some(cost) = cost.and_then(|cost| cost.parse::<u64>().ok()) else {
                    bail!("a line of the profile makes no sense: {line}");
                };
                total += cost;
            }
        }
    }
    Ok(total)
}

/// Whether a demangled name is of Rust: everything there lives in a path.
fn is_from_rust(name: &str) -> bool {
    name.contains("::") || name.starts_with('<')
}

#[cfg(test)]
mod tests;
