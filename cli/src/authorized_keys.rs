//! Whom a server lets in and what each may do: OpenSSH's `authorized_keys`, with options of ours.
//! Doing, and refusing to do, what a [`Grant`] says is the services'.
//!
//! A line is `options ssh-ed25519 AAAA... comment`. The options, separated by commas:
//!
//! | Option | Meaning |
//! |---|---|
//! | `expiry-time="YYYYMMDD[HHMM[SS]][Z]"` | not after this time, in UTC |
//! | `from="10.0.0.0/8,!10.1.*"` | only from these addresses; `!` takes some out; no host names |
//! | `permitopen="host:port"` | dial only this target; may be repeated; `*` for any |
//! | `permitlisten="[host:]port"` | may have the server listen here, on loopback if no host is named; may be repeated; `*` for any |
//! | `no-port-forwarding`, `restrict` | dial nothing and listen nowhere |
//! | `port-forwarding` | takes back the two before it |
//! | `root="/dir"` | files beneath this folder only |
//! | `read-only` | files are not changed |
//! | `rate="200M"` | at most this many bits a second each way, all its connections together |
//!
//! Options of sshd(8) about what is not there, as `no-pty`, are taken and mean nothing. Any other
//! option refuses the key, as in sshd: it may be a restriction we do not know. Where several lines have the same key, the first that lets it in counts. The file is read again when
//! it changed; while it cannot be read, nobody is let in.

use std::{
    collections::HashMap,
    fmt, io,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use rp_protocol::{
    crypto::identity::{PeerRejected, PeerVerifier, PublicKey},
    units::Bandwidth,
};
use rp_proxy::exit::{ListenAccess, ListenRule};
use thiserror::Error;

use crate::{
    dirs,
    guarded_file::{self, Guard, GuardError},
};
use options::Options;

pub use options::Sources;

pub(crate) mod fuzz;
mod line;
mod options;
#[cfg(test)]
mod tests;

/// What a client may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The comment of its line: who it is, for logs.
    pub comment: String,
    /// Which targets it may dial.
    pub forwarding: Forwarding,
    /// Where it may listen; where the server lets every key listen if empty.
    pub listeners: Vec<PermitListen>,
    /// The folder it is kept beneath, if the line names one.
    pub root: Option<PathBuf>,
    /// It may not change files.
    pub is_read_only: bool,
    /// The most it may receive, and the most it may send, with all its connections together.
    pub rate: Option<Bandwidth>,
    /// What it may say that connections come from; nothing if its line does not say.
    pub sources: Option<Sources>,
    /// It showed no key we know and is let in all the same.
    pub is_anonymous: bool,
}

/// Which targets a client may dial, before the server's own rules are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// None.
    None,
    /// These.
    Only(Vec<PermitOpen>),
    /// All.
    #[default]
    Any,
}

/// A target named in `permitopen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitOpen {
    /// The name or address as the client must spell it, in lower case; `*` for any.
    pub host: String,
    /// The port; `None` for any.
    pub port: Option<u16>,
}

/// A listening address named in `permitlisten`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitListen {
    /// The name or address as the client must spell it, in lower case; `*` for any.
    pub host: String,
    /// The port; `None` for any.
    pub port: Option<u16>,
}

/// Whether a host and port of the list, `*` and `None` for any, are those the client spelt.
fn names(allowed: (&str, Option<u16>), host: &str, port: u16) -> bool {
    (allowed.0 == "*" || allowed.0.eq_ignore_ascii_case(host))
        && allowed.1.is_none_or(|allowed| allowed == port)
}

impl Grant {
    /// Whether the client may dial `host`, as it spelt it, at `port`.
    pub fn permits_open(&self, host: &str, port: u16) -> bool {
        match &self.forwarding {
            Forwarding::None => false,
            Forwarding::Any => true,
            Forwarding::Only(targets) => targets
                .iter()
                .any(|target| names((&target.host, target.port), host, port)),
        }
    }

    /// Whether the client may say that a connection comes from `source`.
    pub fn permits_source(&self, source: IpAddr) -> bool {
        let sources = self.sources.as_ref();
        sources.is_some_and(|sources| sources.contains(source))
    }

    /// Where the client may have the server listen; `default` where its line does not say.
    pub fn listen_access(&self, default: &ListenAccess) -> ListenAccess {
        if self.forwarding == Forwarding::None {
            return ListenAccess::default();
        }
        if self.listeners.is_empty() {
            return default.clone();
        }
        self.listeners
            .iter()
            .filter_map(PermitListen::rule)
            .collect()
    }
}

impl PermitListen {
    /// The same for the exit; `None` for a name, at which nobody listens.
    fn rule(&self) -> Option<ListenRule> {
        let port = self
            .port
            .map_or_else(|| "*".to_owned(), |port| port.to_string());
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        format!("{host}:{port}").parse().ok()
    }
}

/// Why a client is not let in; for our log, never for the client.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No line has its key.
    #[error("the key is not in authorized_keys")]
    Unknown,
    /// The key's time is over.
    #[error("the key expired (line {line})")]
    Expired {
        /// Where it stands.
        line: usize,
    },
    /// The key may not be used from this address.
    #[error("the key may not be used from {source_address} (line {line})")]
    Source {
        /// Where it stands.
        line: usize,
        /// Where the client is.
        source_address: IpAddr,
    },
    /// The key's line has options that are not understood.
    #[error("the key's line {line} cannot be honoured: {reason}")]
    Line {
        /// Where it stands.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Something in the file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; `None` for the file itself.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// The server's verifier, and what each client may do.
#[derive(Debug)]
pub struct AuthorizedKeys {
    path: Option<PathBuf>,
    anonymous: Option<PathBuf>,
    /// The one key that is let in, and what it may do, whatever any list says.
    only: Option<(PublicKey, Grant)>,
    list: Mutex<List>,
}

/// The file as it was when last read.
#[derive(Debug, Default)]
struct List {
    stamp: Option<Stamp>,
    keys: HashMap<PublicKey, Vec<Entry>>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
struct Entry {
    line: usize,
    comment: String,
    /// Why the key is refused, where the options are not understood.
    options: Result<Options, String>,
}

/// Tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let m = path.metadata()?;
        Ok(Self {
            device: m.dev(),
            inode: m.ino(),
            len: m.len(),
            mode: m.mode(),
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
        })
    }
}

impl AuthorizedKeys {
    /// The keys in the file `path`, which may appear later.
    pub fn new(path: PathBuf) -> Self {
        let keys = Self {
            path: Some(path),
            ..Self::nobody()
        };
        drop(keys.current());
        keys
    }

    /// No keys at all.
    pub fn nobody() -> Self {
        Self {
            path: None,
            anonymous: None,
            only: None,
            list: Mutex::default(),
        }
    }

    /// `key` alone, to read files beneath `root` and for nothing else.
    pub fn only(key: PublicKey, root: PathBuf) -> Self {
        let grant = Grant {
            comment: "once".to_owned(),
            forwarding: Forwarding::None,
            root: Some(root),
            is_read_only: true,
            ..Grant::default()
        };
        Self {
            only: Some((key, grant)),
            ..Self::nobody()
        }
    }

    /// Lets in keys nobody knows as well, to read files beneath `root` and for nothing else.
    #[must_use]
    pub fn anonymous(mut self, root: PathBuf) -> Self {
        self.anonymous = Some(root);
        self
    }

    /// The user's list.
    pub fn default_path() -> Option<PathBuf> {
        Some(dirs::config()?.join("authorized_keys"))
    }

    /// How many keys there are, usable or not.
    pub fn len(&self) -> usize {
        self.current().keys.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is wrong with the file and its lines.
    pub fn problems(&self) -> Vec<Problem> {
        self.current().problems.clone()
    }

    /// What the client with `key` at `source` may do at present.
    ///
    /// # Errors
    /// It is not let in; see [`Refusal`].
    pub fn grant_for(&self, key: &PublicKey, source: IpAddr) -> Result<Grant, Refusal> {
        self.grant_at(SystemTime::now(), key, Some(source.to_canonical()))
    }

    /// The same at a given time; without a source every `from` lets pass.
    fn grant_at(
        &self,
        now: SystemTime,
        key: &PublicKey,
        source: Option<IpAddr>,
    ) -> Result<Grant, Refusal> {
        if let Some((only, grant)) = &self.only {
            return match only == key {
                true => Ok(grant.clone()),
                false => Err(Refusal::Unknown),
            };
        }
        let list = self.current();
        let Some(entries) = list.keys.get(key) else {
            return self.anonymous_grant().ok_or(Refusal::Unknown);
        };
        let mut first_refusal = None;
        for entry in entries {
            match entry.grant(now, source) {
                Ok(grant) => return Ok(grant),
                Err(refusal) => {
                    first_refusal.get_or_insert(refusal);
                }
            }
        }
        Err(first_refusal.unwrap_or(Refusal::Unknown))
    }

    fn anonymous_grant(&self) -> Option<Grant> {
        self.anonymous.as_ref().map(|root| Grant {
            comment: "anonymous".to_owned(),
            forwarding: Forwarding::None,
            listeners: Vec::new(),
            root: Some(root.clone()),
            is_read_only: true,
            rate: None,
            sources: None,
            is_anonymous: true,
        })
    }

    /// The list, read again if the file is not as it was.
    fn current(&self) -> MutexGuard<'_, List> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = &self.path else { return list };
        let stamp = Stamp::of(path);
        if let Ok(stamp) = &stamp
            && list.stamp == Some(*stamp)
        {
            return list;
        }
        let fresh = List::read(path, stamp);
        if fresh.problems != list.problems {
            for problem in &fresh.problems {
                tracing::warn!(path = %path.display(), %problem, "authorized keys");
            }
        }
        *list = fresh;
        list
    }
}

impl PeerVerifier for AuthorizedKeys {
    /// Lets a key in that could do something from somewhere; from where it comes is not known yet,
    /// so services ask [`grant_for`](AuthorizedKeys::grant_for) again.
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected> {
        match self.grant_at(SystemTime::now(), key, None) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(PeerRejected(format!("{key}: {refusal}"))),
        }
    }
}

impl Entry {
    fn grant(&self, now: SystemTime, source: Option<IpAddr>) -> Result<Grant, Refusal> {
        let line = self.line;
        let options = self.options.as_ref().map_err(|reason| Refusal::Line {
            line,
            reason: reason.clone(),
        })?;
        if options.expiry.is_some_and(|expiry| now >= expiry) {
            return Err(Refusal::Expired { line });
        }
        if let Some(source_address) = source
            && !options
                .from
                .iter()
                .all(|from| from.contains(source_address))
        {
            return Err(Refusal::Source {
                line,
                source_address,
            });
        }
        Ok(Grant {
            comment: self.comment.clone(),
            forwarding: options.forwarding(),
            listeners: options.listeners.clone(),
            root: options.root.clone(),
            is_read_only: options.is_read_only,
            rate: options.rate,
            sources: options.proxy_source.clone(),
            is_anonymous: false,
        })
    }
}

impl List {
    fn read(path: &Path, stamp: io::Result<Stamp>) -> Self {
        match guarded_file::read(path, Guard::Trusted) {
            Ok((bytes, _)) => {
                let mut list = Self::parse(&String::from_utf8_lossy(&bytes));
                // Asked before the file was read: if it changed in between, it is read again.
                list.stamp = stamp.ok();
                list
            }
            Err(error) => Self {
                stamp: stamp.ok(),
                keys: HashMap::new(),
                problems: vec![Problem {
                    line: None,
                    reason: match &error {
                        GuardError::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                            "there is no such file: nobody is let in".to_owned()
                        }
                        error => format!("nobody is let in: {error}"),
                    },
                }],
            },
        }
    }

    fn parse(text: &str) -> Self {
        let mut list = Self::default();
        // Some editors put a mark of the encoding before the first line.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (at, text) in text.lines().enumerate() {
            let line = at + 1;
            match line::parse(text) {
                Ok(None) => {}
                Ok(Some((key, options, comment))) => {
                    if let Err(reason) = &options {
                        list.problem(line, format!("this key is refused: {reason}"));
                    }
                    list.keys.entry(key).or_default().push(Entry {
                        line,
                        comment,
                        options,
                    });
                }
                Err(reason) => list.problem(line, reason),
            }
        }
        list
    }

    fn problem(&mut self, line: usize, reason: String) {
        self.problems.push(Problem {
            line: Some(line),
            reason,
        });
    }
}
