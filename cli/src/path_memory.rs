//! What the programs remember of the paths to their peers: in a file of the user's for `rpcp` and `rpclient`,
//! in memory for `rpserver`. What is made of it is the transport's business (spec/04-congestion.md#path-memory).

use std::{
    collections::VecDeque,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rp_protocol::{
    Connection, congestion::PathMemory, crypto::identity::PublicKey, units::Bandwidth,
};
use serde::{Deserialize, Serialize};
use tracing::debug;

use crate::{
    connect::Server,
    dirs,
    guarded_file::{self, Guard},
};

#[cfg(test)]
mod tests;

/// Paths kept in the file, the newest first: far more servers than a person uses in a day.
const MOST_PATHS: usize = 256;
/// Clients a server remembers; a hundred kilobytes.
const MOST_CLIENTS: usize = 1024;
/// Seconds after which an entry is not worth its line: the transport would not take it.
const OLDEST: u64 = 24 * 3600;

/// The file in which `rpcp` and `rpclient` remember paths.
///
/// It only ever saves time: what is wrong with it is a line in the debug log, never an error. Several programs
/// may use it at once; each replaces it whole, so of two that end at the same moment one may be forgotten.
#[derive(Clone, Debug)]
pub struct PathFile {
    path: PathBuf,
}

/// The file's contents.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Paths {
    #[serde(default, rename = "path")]
    paths: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    server: String,
    address: IpAddr,
    bytes_per_second: u64,
    min_rtt_us: u64,
    /// Seconds since 1970.
    learnt_at: u64,
}

impl PathFile {
    /// The user's own; `None` without a home, or if nothing is to be remembered.
    pub fn open(is_wanted: bool) -> Option<Self> {
        let folder = dirs::state().filter(|_| is_wanted)?;
        Some(Self::at(folder.join("paths.toml")))
    }

    /// This file.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Gives a new connection to `server` what is known of the path there.
    pub fn recall(&self, server: &Server, connection: &Connection) {
        let address = connection.remote_address().ip();
        if let Some(memory) = self.find(server, address, unix_time()) {
            debug!(%server, rate = %memory.rate, min_rtt = ?memory.min_rtt, "path known from before");
            connection.recall(&memory);
        }
    }

    /// Keeps what a connection to `server` learnt, if it did.
    pub fn keep(&self, server: &Server, connection: &Connection) {
        let address = connection.remote_address().ip();
        if let Some(memory) = connection.path_memory()
            && let Err(error) = self.insert(server, address, &memory, unix_time())
        {
            let path = self.path.display();
            debug!(%path, %error, "the path is not remembered");
        }
    }

    fn find(&self, server: &Server, address: IpAddr, now: u64) -> Option<PathMemory> {
        let server = server.to_string();
        let entries = self.read(now);
        let entry = entries
            .iter()
            .find(|entry| entry.server == server && entry.address == address.to_canonical())?;
        Some(PathMemory {
            rate: Bandwidth::from_bytes_per_second(entry.bytes_per_second),
            min_rtt: Duration::from_micros(entry.min_rtt_us),
            age: Duration::from_secs(now.checked_sub(entry.learnt_at)?),
        })
    }

    fn insert(
        &self,
        server: &Server,
        address: IpAddr,
        memory: &PathMemory,
        now: u64,
    ) -> io::Result<()> {
        let server = server.to_string();
        let address = address.to_canonical();
        let mut paths = self.read(now);
        paths.retain(|entry| entry.server != server || entry.address != address);
        paths.insert(
            0,
            Entry {
                server,
                address,
                bytes_per_second: memory.rate.bytes_per_second(),
                min_rtt_us: u64::try_from(memory.min_rtt.as_micros()).unwrap_or(u64::MAX),
                learnt_at: now,
            },
        );
        paths.truncate(MOST_PATHS);
        let text = toml::to_string(&Paths { paths }).map_err(io::Error::other)?;
        replace(&self.path, &text)
    }

    /// What is in the file and not outdated; nothing of a file that is missing or damaged.
    fn read(&self, now: u64) -> Vec<Entry> {
        let paths = match self.parse() {
            Ok(paths) => paths,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    let path = self.path.display();
                    debug!(%path, %error, "the file of known paths is not used");
                }
                return Vec::new();
            }
        };
        let mut entries = paths.paths;
        // What lies in the future was written by a clock that was wrong.
        entries.retain(|entry| (0..=OLDEST).contains(&now.wrapping_sub(entry.learnt_at)));
        entries
    }

    fn parse(&self) -> io::Result<Paths> {
        let read = guarded_file::read(&self.path, Guard::Trusted);
        let (bytes, _) = read.map_err(|error| match error {
            guarded_file::GuardError::Io(error) => error,
            error => io::Error::other(error),
        })?;
        toml::from_slice(&bytes).map_err(io::Error::other)
    }
}

/// Puts `text` in the place of the file at once: whoever reads sees the old or the new.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    dirs::make_parent(path)?;
    let draft = path.with_extension(format!("{:016x}.new", rand::random::<u64>()));
    let written = write_new(&draft, text).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // It may not exist; what counts is the error before.
        let _ = fs::remove_file(&draft);
    }
    written
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(b"# Paths to servers, as rpcp and rpclient found them. May be deleted.\n\n")?;
    file.write_all(text.as_bytes())
}

fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Who a server knows: a key at an address.
type Client = (PublicKey, IpAddr);

/// What a server remembers of the paths to its clients, as long as it runs.
#[derive(Debug, Default)]
pub(crate) struct KnownClients {
    /// The one heard of longest ago first.
    clients: Mutex<VecDeque<(Client, PathMemory, Instant)>>,
}

impl KnownClients {
    /// Gives a new connection what is known of the path to its client.
    pub(crate) fn recall(&self, connection: &Connection) {
        if let Some(memory) = self.find(client(connection), Instant::now()) {
            debug!(rate = %memory.rate, min_rtt = ?memory.min_rtt, "path known from before");
            connection.recall(&memory);
        }
    }

    /// Keeps what a connection learnt, if it did.
    pub(crate) fn keep(&self, connection: &Connection) {
        if let Some(memory) = connection.path_memory() {
            self.insert(client(connection), memory, Instant::now());
        }
    }

    fn find(&self, client: Client, now: Instant) -> Option<PathMemory> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, memory, at) = clients.iter().find(|(known, ..)| *known == client)?;
        Some(PathMemory {
            age: now.saturating_duration_since(*at),
            ..*memory
        })
    }

    fn insert(&self, client: Client, memory: PathMemory, now: Instant) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|(known, ..)| *known != client);
        if clients.len() == MOST_CLIENTS {
            clients.pop_front();
        }
        clients.push_back((client, memory, now));
    }
}

fn client(connection: &Connection) -> Client {
    let address = connection.remote_address().ip();
    (connection.peer(), address.to_canonical())
}
