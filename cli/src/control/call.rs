//! The caller's side of a control socket: finds a running program and gives it commands.
//! What the answers mean is the caller's business.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::timeout,
};

use super::{
    message::{Command, MAX_LINE_BYTES, Refusal, Reply},
    socket::{Place, is_live, runtime_folder},
};
use crate::exit_code::{ExitCode, Failure};

/// How long an answer is waited for: somewhat longer than a program takes for a command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// Where the unit of rpclient, which runs as a user of its own, has its sockets.
const CLIENT_UNIT_FOLDER: &str = "/run/rapidpath-client";

/// Why a command was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The program does not do it.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer came.
    #[error("the program does not answer")]
    NoAnswer,
    /// What came is not what we know.
    #[error("the program's answer cannot be understood, it may be of another version: {0}")]
    BadAnswer(String),
    /// The system's word.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let code = match &error {
            CallError::Refused(_) => ExitCode::Failed,
            CallError::NoAnswer => ExitCode::Timeout,
            CallError::BadAnswer(_) => ExitCode::Version,
            CallError::Io(_) => ExitCode::Connect,
        };
        Self::new(code, error.to_string())
    }
}

/// The socket of the running `program`: the one at `place`, or the only one in the runtime folder, or the
/// one there whose name has `local`, the address the instance listens on.
///
/// # Errors
/// There is none, or there are several; the text names them.
pub fn find(place: &Place, program: &str, local: Option<&str>) -> Result<PathBuf, Failure> {
    let folder = match place {
        Place::Named(path) => return Ok(path.clone()),
        Place::Off => return Err(Failure::usage("--control off: nobody can be asked")),
        Place::Usual => runtime_folder().ok_or_else(|| {
            Failure::usage("there is no XDG_RUNTIME_DIR to look in: give --control PATH")
        })?,
    };
    let found = find_in(&folder, program, local);
    let is_none = matches!(&found, Err(failure) if failure.code == ExitCode::Connect);
    if is_none && rustix::process::geteuid().is_root() {
        return find_in(Path::new(CLIENT_UNIT_FOLDER), program, local).or(found);
    }
    found
}

pub(super) fn find_in(
    folder: &Path,
    program: &str,
    local: Option<&str>,
) -> Result<PathBuf, Failure> {
    let mut running = running(folder, program);
    if let Some(local) = local
        && running.len() > 1
    {
        let named = super::socket::usual_path(folder, program, local);
        running.retain(|path| *path == named);
    }
    match &running[..] {
        [path] => Ok(path.clone()),
        [] => Err(Failure::new(
            ExitCode::Connect,
            format!(
                "no {program} runs that has its control socket in {}",
                folder.display()
            ),
        )),
        several => {
            let list: Vec<_> = several
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            Err(Failure::usage(format!(
                "several {program} run: give --control and one of {}",
                list.join(", ")
            )))
        }
    }
}

/// The sockets in `folder` that somebody listens on.
fn running(folder: &Path, program: &str) -> Vec<PathBuf> {
    let is_named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| {
            name.strip_prefix(program)?
                .strip_prefix('-')?
                .strip_suffix(".sock")
        })
        .is_some()
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(is_named)
        .filter(|path| is_live(path).unwrap_or(false))
        .collect();
    found.sort();
    found
}

/// A connection to a running program.
#[derive(Debug)]
pub struct Caller {
    stream: BufReader<UnixStream>,
}

impl Caller {
    /// Connects to the program that listens at `path`.
    ///
    /// # Errors
    /// Nobody listens there, or it may not be used; the text names it.
    pub async fn connect(path: &Path) -> Result<Self, Failure> {
        let stream = UnixStream::connect(path).await.map_err(|error| {
            let path = path.display();
            Failure::new(ExitCode::Connect, format!("control socket {path}: {error}"))
        })?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Has `command` done, and gives what it led to.
    ///
    /// # Errors
    /// It was refused, or no answer came that we know.
    pub async fn call<T: DeserializeOwned>(&mut self, command: &Command) -> Result<T, CallError> {
        let mut line = serde_json::to_vec(command).map_err(io::Error::from)?;
        line.push(b'\n');
        let exchange = async {
            self.stream.write_all(&line).await?;
            let mut answer = Vec::new();
            let mut limited = (&mut self.stream).take(MAX_LINE_BYTES as u64);
            limited.read_until(b'\n', &mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        let answer = timeout(ANSWER_TIMEOUT, exchange)
            .await
            .map_err(|_| CallError::NoAnswer)??;
        if answer.is_empty() {
            return Err(CallError::NoAnswer);
        }
        let bad = |error: serde_json::Error| CallError::BadAnswer(error.to_string());
        match serde_json::from_slice(&answer).map_err(bad)? {
            Reply::Ok(value) => serde_json::from_value(value).map_err(bad),
            Reply::Error(text) => Err(CallError::Refused(Refusal::new(printable(&text)))),
        }
    }

    /// The connection, after a command by which the program took it over. Nothing that came is lost:
    /// it is read first.
    pub fn into_stream(self) -> BufReader<UnixStream> {
        self.stream
    }
}

/// `text` without what could change a terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}
