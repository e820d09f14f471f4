//! One side of an `rpcp` command line: what was typed, and what it means. Nothing is opened here.

mod ssh;
#[cfg(test)]
mod tests;

pub use self::ssh::SshHost;

use std::{
    borrow::Cow,
    ffi::OsStr,
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rp_transfer::error::printable;
use thiserror::Error;

use crate::connect::Server;

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Standard input or output.
    Standard,
    /// A path of this machine.
    Local(PathBuf),
    /// A path at another machine.
    Remote(Remote),
}

/// A path at another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The machine.
    pub host: Host,
    /// The path as requests name it: beneath the root of an `rpserver`, without a leading `/`; over ssh as it was
    /// typed, until the far side says what it is called there.
    pub path: Vec<u8>,
    /// The path as it was typed, where requests name it otherwise.
    typed: Option<Vec<u8>>,
}

/// How another machine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An `rpserver` runs there.
    Server(Server),
    /// `ssh` starts the far side.
    Ssh(SshHost),
}

impl Remote {
    /// Has requests name the path `path`.
    pub(super) fn call(&mut self, path: Vec<u8>) {
        let typed = std::mem::replace(&mut self.path, path);
        self.typed.get_or_insert(typed);
    }

    /// Another path of the same machine, as requests name it.
    pub(super) fn beside(&self, path: Vec<u8>) -> Self {
        Self {
            host: self.host.clone(),
            path,
            typed: None,
        }
    }

    /// Whether the far side of an ssh session said that the path is a folder's.
    pub(super) fn is_folder_there(&self) -> bool {
        matches!(self.host, Host::Ssh(_)) && !self.path.contains(&b'/')
    }

    /// The path as it was typed.
    pub fn typed(&self) -> &[u8] {
        self.typed.as_ref().unwrap_or(&self.path)
    }

    /// The last component, if the path is not spelled as a folder.
    pub fn file_name(&self) -> Option<&OsStr> {
        let name = self.typed().rsplit(|&byte| byte == b'/').next()?;
        (!name.is_empty()).then(|| OsStr::from_bytes(name))
    }

    /// The last component, however the path is spelled; empty for the root and for `.`.
    pub fn folder_name(&self) -> &OsStr {
        let mut names = self.typed().rsplit(|&byte| byte == b'/');
        let name = names.find(|name| !name.is_empty()).unwrap_or_default();
        match name {
            b"." | b".." => OsStr::new(""),
            name => OsStr::from_bytes(name),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Server(server) => {
                let server = server.to_string().replace('%', "%25");
                write!(f, "rp://{server}/{}", printable(self.typed()))
            }
            Host::Ssh(host) => write!(f, "{host}:{}", printable(self.typed())),
        }
    }
}

/// Why what was typed is no location.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LocationError {
    /// `user@host:path` with a host or user that ssh is not to be given.
    #[error(
        "{0}: not a host for ssh; write [USER@]HOST:PATH, an IPv6 address in brackets (or ./NAME for a local \
         file with a colon)"
    )]
    Ssh(String),
    /// A path with a line break or the like.
    #[error("{0}: control characters are not accepted in a path")]
    Control(String),
    /// Another scheme than `rp://`.
    #[error("{0}: of addresses with :// only rp:// is understood")]
    Scheme(String),
    /// `rp://` with a user.
    #[error("{0}: rp:// takes no user; the server knows you by your key")]
    User(String),
    /// No host, or one that cannot be read.
    #[error("{0}: expected rp://HOST[:PORT]/PATH, an IPv6 address in brackets")]
    Host(String),
    /// A `%` that is not followed by two hexadecimal digits.
    #[error(
        "{0}: a % in an rp:// path begins two hexadecimal digits; write %25 for the sign itself"
    )]
    Escape(String),
    /// Nothing at all.
    #[error("an empty name is no file; standard input and output are written -")]
    Empty,
    /// A source that is spelled as a folder.
    #[error("{0} is a folder: name the file in it that is to be copied")]
    Folder(String),
    /// Standard input goes to a folder.
    #[error(
        "{0} is a folder and standard input has no name: write the name the file is to have after it"
    )]
    NeedsName(String),
}

impl Location {
    /// Reads what was typed.
    ///
    /// # Errors
    /// See [`LocationError`].
    pub fn parse(typed: &OsStr) -> Result<Self, LocationError> {
        let bytes = typed.as_bytes();
        let shown = || printable(bytes);
        if let Some(rest) = bytes.strip_prefix(b"rp://") {
            return parse_remote(rest, &shown).map(Self::Remote);
        }
        match bytes {
            b"" => return Err(LocationError::Empty),
            b"-" => return Ok(Self::Standard),
            _ => {}
        }
        let Some((head, path)) = ssh::split(bytes) else {
            return Ok(Self::Local(PathBuf::from(typed)));
        };
        if path.starts_with(b"//") && !head.contains(&b'@') && !head.starts_with(b"[") {
            return Err(LocationError::Scheme(shown()));
        }
        if path.iter().any(u8::is_ascii_control) {
            return Err(LocationError::Control(shown()));
        }
        Ok(Self::Remote(Remote {
            host: Host::Ssh(SshHost::parse(head).ok_or_else(|| LocationError::Ssh(shown()))?),
            path: path.to_vec(),
            typed: None,
        }))
    }

    /// The name a folder keeps of this source; empty for standard input.
    pub fn source_name(&self) -> Vec<u8> {
        let name = match self {
            Self::Standard => None,
            Self::Local(path) => path.file_name(),
            Self::Remote(remote) => remote.file_name(),
        };
        name.unwrap_or_default().as_bytes().to_vec()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("-"),
            Self::Local(path) => f.write_str(&printable_path(path)),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

/// A path of this machine for messages.
pub(super) fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// Reads `HOST[:PORT][/PATH]`.
fn parse_remote(rest: &[u8], shown: &dyn Fn() -> String) -> Result<Remote, LocationError> {
    let slash = rest.iter().position(|&byte| byte == b'/');
    let (authority, path) = match slash {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &[][..]),
    };
    if authority.contains(&b'@') {
        return Err(LocationError::User(shown()));
    }
    let server = str::from_utf8(authority).ok().and_then(parse_server);
    Ok(Remote {
        host: Host::Server(server.ok_or_else(|| LocationError::Host(shown()))?),
        path: unescape(path).ok_or_else(|| LocationError::Escape(shown()))?,
        typed: None,
    })
}

/// Reads `HOST[:PORT]`; an interface after an IPv6 address has `%25` before it, as in URIs
/// (RFC 6874), or `%` as everywhere else.
fn parse_server(authority: &str) -> Option<Server> {
    let unescaped = match authority.split_once("%25") {
        Some((address, rest)) if !rest.starts_with(']') => {
            let (zone, port) = rest.split_once(']')?;
            let zone = String::from_utf8(unescape(zone.as_bytes())?).ok()?;
            Cow::Owned(format!("{address}%{zone}]{port}"))
        }
        _ => Cow::Borrowed(authority),
    };
    // Without brackets, the port of an IPv6 address could be a part of it.
    let is_bare = |text: &str| !text.starts_with('[') && text.matches(':').count() > 1;
    (!is_bare(&unescaped)).then(|| unescaped.parse().ok())?
}

/// Replaces every `%XX`; `None` where a `%` stands for nothing.
pub(super) fn unescape(path: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = path.iter();
    let mut out = Vec::with_capacity(path.len());
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
        let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
        out.push(u8::try_from(value).ok()?);
    }
    Some(out)
}
