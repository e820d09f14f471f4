//! The list of servers whose keys are known: `known_hosts`, one line a key.
//! Asking whether to trust a key, and refusing one, is `host_key`'s.
//!
//! A line is `[host]:port ssh-ed25519 AAAA... comment`, a form OpenSSH shares, so that
//! `ssh-keygen -R '[host]:7377' -f known_hosts` removes one. Several names may stand before a key,
//! with commas between them; each may be a pattern (`[*.example]:*`), one that begins with `!` takes
//! its hosts out again, and a name may be hashed, as `ssh-keygen -H` leaves it. `@revoked` before the
//! names refuses the key; there they may also stand without a port, for every port. Lines that are
//! empty or begin with `#` mean nothing.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rp_protocol::crypto::identity::PublicKey;
use thiserror::Error;

use crate::{
    dirs,
    guarded_file::{self, Guard, GuardError},
    openssh,
    pattern::wildcard,
};

pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

/// A server as it is named in the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostName(String);

/// The form of a hashed name: `|1|salt|hash`, both in base64.
const HASHED: &str = "|1|";

impl HostName {
    /// The server the user called `host`, a name or an address, at `port`.
    pub fn new(host: &str, port: u16) -> Self {
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        Self(format!("[{}]:{port}", host.to_ascii_lowercase()))
    }

    /// The host without its port.
    fn bare(&self) -> &str {
        let host = self.0.rsplit_once("]:").map(|(host, _)| host);
        host.and_then(|host| host.strip_prefix('['))
            .unwrap_or(&self.0)
    }

    /// Whether the name can stand in a line: it comes from the command line.
    fn is_writable(&self) -> bool {
        !self.0.contains([',', '#']) && self.0.chars().all(|c| c.is_ascii_graphic())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why the list cannot be used.
#[derive(Debug, Error)]
#[error("cannot use the known hosts in {}: {error}", path.display())]
pub struct KnownHostsError {
    path: PathBuf,
    error: GuardError,
}

/// A key known for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// The key.
    pub key: PublicKey,
    /// Where it stands, from 1.
    pub line: usize,
    /// It must not be accepted any more.
    pub is_revoked: bool,
}

/// The file of known hosts.
#[derive(Clone, Debug)]
pub struct KnownHosts {
    path: PathBuf,
}

impl KnownHosts {
    /// The list in `path`, which need not exist.
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The user's list.
    pub fn default_path() -> Option<PathBuf> {
        Some(dirs::config()?.join("known_hosts"))
    }

    /// Where the list is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys known for `host`. Lines that cannot be understood are logged and skipped.
    ///
    /// # Errors
    /// The file exists and cannot be read, or others can change it.
    pub fn lookup(&self, host: &HostName) -> Result<Vec<KnownKey>, KnownHostsError> {
        let text = self.text()?;
        let lines = text.lines().enumerate();
        Ok(lines
            .filter_map(|(at, line)| match parse(line, host) {
                Ok(found) => found.map(|(key, is_revoked)| KnownKey {
                    key,
                    line: at + 1,
                    is_revoked,
                }),
                Err(problem) => {
                    let (path, line) = (self.path.display(), at + 1);
                    tracing::warn!(%path, line, problem, "line of known hosts skipped");
                    None
                }
            })
            .collect())
    }

    /// Adds a line for `host` and `key`; makes the file, and its folder, if there is none.
    ///
    /// # Errors
    /// The file cannot be written, or the host's name cannot stand in it.
    pub fn add(&self, host: &HostName, key: &PublicKey) -> io::Result<()> {
        if !host.is_writable() {
            let text = "the host's name has characters that cannot be written down";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        dirs::make_parent(&self.path)?;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        let mut line = format!("{host} {}\n", openssh::format_key(key));
        if !ends_with_newline(&mut file)? {
            line.insert(0, '\n');
        }
        // One write: lines of two programs do not mix.
        file.write_all(line.as_bytes())?;
        file.sync_all()
    }

    fn text(&self) -> Result<String, KnownHostsError> {
        match guarded_file::read(&self.path, Guard::Trusted) {
            Ok((bytes, _)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(GuardError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Ok(String::new())
            }
            Err(error) => Err(KnownHostsError {
                path: self.path.clone(),
                error,
            }),
        }
    }
}

/// Whether a line can be appended as it is: an editor may have left the last one open.
fn ends_with_newline(file: &mut std::fs::File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The key in `line` if it is for `host`, and whether it is revoked.
fn parse(line: &str, host: &HostName) -> Result<Option<(PublicKey, bool)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (is_revoked, line) = match line.strip_prefix('@') {
        None => (false, line),
        Some(marked) => match marked.strip_prefix("revoked") {
            Some(rest) => (true, rest),
            None => return Err("a marker other than @revoked"),
        },
    };
    let mut words = line.split_ascii_whitespace();
    let (Some(names), Some(kind), Some(base64)) = (words.next(), words.next(), words.next()) else {
        return Err("not a name, a key type and a key");
    };
    let spellings = [&*host.0, host.bare()];
    let spellings = if is_revoked {
        &spellings[..]
    } else {
        &spellings[..1]
    };
    if !are_for(names, spellings)? {
        return Ok(None);
    }
    match openssh::parse_key(kind, base64) {
        Ok(key) => Ok(Some((key, is_revoked))),
        Err(_) => Err("not an Ed25519 key"),
    }
}

/// Whether the `names` of a line are for the host with these `spellings`, in lower case.
fn are_for(names: &str, spellings: &[&str]) -> Result<bool, &'static str> {
    if let Some(hashed) = names.strip_prefix(HASHED) {
        return is_hash_of(hashed, spellings).ok_or("a damaged hashed name");
    }
    if names.starts_with('|') {
        return Err("a name hashed in an unknown way");
    }
    let mut is_named = false;
    for name in names.split(',') {
        let name = name.to_ascii_lowercase();
        let (pattern, is_out) = match name.strip_prefix('!') {
            Some(pattern) => (pattern, true),
            None => (&*name, false),
        };
        let fits = |host: &&str| wildcard(pattern.as_bytes(), host.as_bytes());
        if spellings.iter().any(fits) {
            if is_out {
                return Ok(false);
            }
            is_named = true;
        }
    }
    Ok(is_named)
}

/// Whether `salt|hash` is the HMAC-SHA-1 of one of `spellings` under the salt; `None` if it is no hash.
fn is_hash_of(hashed: &str, spellings: &[&str]) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    let is_hash = |host: &&str| hmac::verify(&key, host.as_bytes(), &hash).is_ok();
    Some(spellings.iter().any(is_hash))
}
