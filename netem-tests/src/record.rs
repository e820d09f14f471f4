//! Records of measurements: JSON lines, one a run, each complete in itself. What the kinds of record
//! hold is defined beside their sections of the report.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use anyhow::Context;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything that was to arrive has arrived.
    Complete,
    /// The time limit ended it; the figures are of what had happened by then.
    CutOff,
    /// It went wrong.
    Failed {
        /// In words.
        reason: String,
    },
}

/// When, where and by which words something was measured; stands in every record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circumstances {
    /// Seconds since 1970.
    pub unix_time: u64,
    /// `uname -sr`.
    pub kernel: String,
    /// The processor's name.
    pub cpu: String,
    /// Processors this program may use.
    pub cores: usize,
    /// The source, by `git describe`; `-dirty` if it was changed since.
    pub revision: String,
    /// The arguments of the command that measured.
    pub command: String,
}

impl Circumstances {
    /// What is so at the moment.
    pub fn now() -> Self {
        let uname = rustix::system::uname();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        Self {
            unix_time: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            kernel: format!("{} {}", text(uname.sysname()), text(uname.release())),
            cpu: cpu_name(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            revision: revision().unwrap_or_else(|| "unknown".to_owned()),
            command: repeatable(std::env::args().skip(1)),
        }
    }
}

/// Options that say where things are on this machine, or how long it may work, and not what is measured.
const PLACES: [&str; 4] = ["--out", "--programs", "--results", "--stop-after"];

/// Options that matter to this one run.
const ONCE: [&str; 2] = ["--offline", "--resume"];

/// The arguments that measure the same again, anywhere.
fn repeatable(arguments: impl Iterator<Item = String>) -> String {
    let mut kept = Vec::new();
    let mut is_value_of_place = false;
    for argument in arguments {
        let name = argument
            .split_once('=')
            .map_or(&*argument, |(name, _)| name);
        let is_place = PLACES.contains(&name);
        if !is_value_of_place && !is_place && !ONCE.contains(&name) {
            kept.push(argument.clone());
        }
        is_value_of_place = is_place && name == argument;
    }
    kept.join(" ")
}

fn cpu_name(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

fn revision() -> Option<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=10"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where records of a kind are kept unless somebody says otherwise.
pub fn default_file(kind: &str) -> PathBuf {
    results_dir().join(kind).with_extension("jsonl")
}

/// The folder of records and plots.
pub fn results_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

/// A file of records that is added to.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens or makes the file. Half a line that a killed run left at its end is removed.
    ///
    /// # Errors
    /// The file cannot be made, read or written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot keep records in {}", path.display());
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            fs::create_dir_all(folder).with_context(failed)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .with_context(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(failed)?;
        let whole = whole_lines(&bytes).len();
        if whole < bytes.len() {
            file.set_len(whole as u64).with_context(failed)?;
            file.seek(SeekFrom::End(0)).with_context(failed)?;
        }
        Ok(Self {
            file,
            path: path.to_path_buf(),
        })
    }

    /// Adds a record, in one write.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append<T: Serialize>(&mut self, record: &T) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.flush())
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// All records of a file; none if there is no file. Half a line at the end is no record.
///
/// # Errors
/// The file cannot be read, or a line is not such a record; the text names the line.
pub fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    whole_lines(&bytes)
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| {
            serde_json::from_slice(line)
                .with_context(|| format!("{}:{}: no such record", path.display(), index + 1))
        })
        .collect()
}

/// `bytes` up to the last end of a line.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests;
