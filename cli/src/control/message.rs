//! The lines that go over a control socket. How they are carried is in `serve` and `call`.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    connect::{Server, Trust},
    settings::ClientSettings,
};

/// Longest line in either direction: a status with its tables stays far below.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// Longest command, with the end of its line.
pub(super) const MAX_COMMAND_BYTES: usize = 16 << 10;

/// What a running program can be told.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(
    tag = "command",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
#[non_exhaustive]
pub enum Command {
    /// Tell your numbers.
    Status {},
    /// Connect to a target and hand its bytes on, over the connection there is.
    Connect {
        /// Host and port.
        target: String,
        /// The way the caller would go by itself; any will do if it names none.
        route: Option<Route>,
    },
    /// Begin a forward.
    ForwardAdd {
        /// `-L` or `-R`.
        flag: String,
        /// As it is typed.
        forward: String,
    },
    /// End a forward.
    ForwardRemove {
        /// `-L` or `-R`.
        flag: String,
        /// Where it listens, as it is typed.
        listen: String,
    },
    /// Tell your forwards.
    ForwardList {},
}

/// The way to the targets: whoever goes the same way may go together.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Route {
    /// The servers in their order, each with the key it must have, if that was named.
    servers: Vec<(String, Option<String>)>,
    known_hosts: Option<PathBuf>,
    identity: Option<PathBuf>,
}

impl Route {
    /// The way of a client with `settings`.
    pub fn of(settings: &ClientSettings) -> Self {
        let server = |(server, trust): &(Server, Trust)| {
            let key = trust.host_key.as_ref().map(ToString::to_string);
            (server.to_string(), key)
        };
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let trust = settings.servers.first().map(|(_, trust)| trust);
        Self {
            servers: settings.servers.iter().map(server).collect(),
            known_hosts: trust.and_then(|trust| trust.known_hosts.as_ref().map(whole)),
            identity: trust.and_then(|trust| trust.identity.as_ref().map(whole)),
        }
    }
}

impl Command {
    /// Reads one line.
    ///
    /// # Errors
    /// It is no command; the text says why.
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(line).map_err(|error| Refusal::new(format!("no command: {error}")))
    }
}

/// Why a program does not do what it was told: one line for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// A refusal that says `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The program that was asked has no such command.
    pub fn unknown(program: &str) -> Self {
        Self(format!("{program} has no such command"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The one line a command is answered with.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// Done; what it led to.
    Ok(Value),
    /// Not done.
    Error(String),
}

impl Reply {
    /// The line, with its end.
    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_else(|_| b"{\"error\":\"\"}".to_vec());
        line.push(b'\n');
        line
    }
}
