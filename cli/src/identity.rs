//! Private keys: the user's own, in a file or in `ssh-agent`, and the server's, which is made on first
//! start. Whom a key is trusted by is told elsewhere.

use std::{
    cell::OnceCell,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rp_protocol::crypto::identity::{Identity, PublicKey};
use ssh_key::{
    LineEnding, PrivateKey,
    private::{Ed25519Keypair, KeypairData},
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    agent::{Agent, AgentError, AgentKey},
    dirs,
    guarded_file::{self, Guard, GuardError},
    openssh,
    prompt::Prompt,
};

#[cfg(test)]
mod tests;

/// How often a passphrase may be mistyped, as in ssh.
const PASSPHRASE_ATTEMPTS: usize = 3;

/// Most keys of an agent that a server is asked to take: as many as sshd bears by default (MaxAuthTries).
const MOST_TRIED: usize = 6;

/// Why there is no identity.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The environment names no home to find the default key in.
    #[error("no key was named and there is no home folder to find one in; name one with -i")]
    NoHome,
    /// There is no such file.
    #[error("there is no key {}; make one with: ssh-keygen -t ed25519 -f {}", .0.display(), .0.display())]
    Missing(PathBuf),
    /// The file cannot or must not be read.
    #[error("cannot use the key {}: {error}{}", path.display(), owner_advice(error))]
    Guard {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        error: GuardError,
    },
    /// There is no key that can be used, neither in the usual file nor in the agent.
    #[error(
        "there is no Ed25519 key: {} is not there, and {found}; RSA, ECDSA and FIDO keys cannot be \
         used here. Make one with: ssh-keygen -t ed25519; then add its public half to the \
         authorized_keys that rpserver uses", path.display()
    )]
    NoKey {
        /// The usual file.
        path: PathBuf,
        /// What was found instead.
        found: String,
    },
    /// Only the public half is in the file, and no agent has the private one.
    #[error("{} is a public key, and {found}", path.display())]
    PublicOnly {
        /// The file.
        path: PathBuf,
        /// What the agent has.
        found: String,
    },
    /// The file is no OpenSSH private key.
    #[error("{} is not an Ed25519 private key in OpenSSH's format; make one with: ssh-keygen -t ed25519", .0.display())]
    Format(PathBuf),
    /// The key is of a type RPP does not use.
    #[error("the key {} is of type {kind}, and RSA, ECDSA and FIDO keys cannot be used here; make another with: \
         ssh-keygen -t ed25519; then add its public half to the authorized_keys that rpserver uses", path.display())]
    Kind {
        /// The key file.
        path: PathBuf,
        /// What it holds.
        kind: String,
    },
    /// The key is encrypted and nobody can be asked for the passphrase.
    #[error("the key {} needs a passphrase and there is no terminal to ask on", .0.display())]
    NoTerminal(PathBuf),
    /// None of the passphrases given opened the key.
    #[error("the passphrase does not open the key {}", .0.display())]
    Passphrase(PathBuf),
    /// The host key could not be made.
    #[error("cannot make the host key {}: {error}", path.display())]
    Make {
        /// Where it was to be.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
}

/// What to do about a key that this program may not read: services run as users of their own.
fn owner_advice(error: &GuardError) -> &'static str {
    match error {
        GuardError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "; it has to belong to the user whom this program runs as: see chown --reference"
        }
        _ => "",
    }
}

/// The user's key when none is named: `~/.ssh/id_ed25519`.
pub fn default_path() -> Option<PathBuf> {
    Some(dirs::home()?.join(".ssh").join("id_ed25519"))
}

/// The server's key when none is named.
pub fn default_host_key_path() -> Option<PathBuf> {
    Some(dirs::config()?.join("host_key"))
}

/// Loads the key `path`, or the user's default one, asking `prompt` for the passphrase if it has
/// one. A private key that is not to be had without a passphrase, or of which `path` is the public
/// half, is used by way of `ssh-agent` if that has it; and so are the agent's Ed25519 keys, in its
/// order, where no key is named and the default one is not there: then there may be several.
///
/// # Errors
/// See [`IdentityError`]; its text says what to do.
pub fn load(path: Option<&Path>, prompt: &dyn Prompt) -> Result<Vec<Identity>, IdentityError> {
    let agent = Agent::from_env();
    let place = Place {
        agent: agent.as_ref(),
        default: default_path(),
    };
    load_from(&place, path, prompt)
}

/// Where keys are looked for that are not named.
struct Place<'a> {
    agent: Option<&'a Agent>,
    default: Option<PathBuf>,
}

fn load_from(
    place: &Place<'_>,
    path: Option<&Path>,
    prompt: &dyn Prompt,
) -> Result<Vec<Identity>, IdentityError> {
    let keys = AgentKeys::of(place.agent);
    if let Some(path) = path {
        return match read_public(path) {
            Some(key) => keys
                .identity(&key?)
                .map(one)
                .ok_or_else(|| IdentityError::PublicOnly {
                    path: path.to_owned(),
                    found: keys.found(),
                }),
            None => read(path, &keys, prompt).map(one),
        };
    }
    let Some(path) = &place.default else {
        return keys.usable().ok_or(IdentityError::NoHome);
    };
    match read(path, &keys, prompt) {
        Err(IdentityError::Missing(path)) => keys.usable().ok_or_else(|| {
            let found = keys.found();
            IdentityError::NoKey { path, found }
        }),
        Err(IdentityError::NoTerminal(path)) => {
            keys.usable().ok_or(IdentityError::NoTerminal(path))
        }
        other => other.map(one),
    }
}

fn one(identity: Identity) -> Vec<Identity> {
    vec![identity]
}

/// What an agent has.
struct AgentKeys<'a> {
    agent: Option<&'a Agent>,
    /// Asked for when they are needed: an agent may be slow, or hang.
    keys: OnceCell<Result<Vec<AgentKey>, AgentError>>,
}

impl<'a> AgentKeys<'a> {
    const fn of(agent: Option<&'a Agent>) -> Self {
        let keys = OnceCell::new();
        Self { agent, keys }
    }

    /// None at all, as for a server, whose key is its own.
    const fn none() -> Self {
        Self::of(None)
    }

    fn asked(&self) -> &Result<Vec<AgentKey>, AgentError> {
        self.keys.get_or_init(|| {
            let keys = self.agent.map_or_else(|| Ok(Vec::new()), Agent::keys);
            if let Err(error) = &keys {
                tracing::debug!(%error, "no agent");
            }
            keys
        })
    }

    fn all(&self) -> &[AgentKey] {
        self.asked().as_deref().unwrap_or_default()
    }

    /// The key `wanted`, if the agent has it.
    fn identity(&self, wanted: &PublicKey) -> Option<Identity> {
        let has = |key: &AgentKey| key.key.as_ref() == Some(wanted);
        let agent = self.agent.filter(|_| self.all().iter().any(has))?;
        Some(agent.identity(*wanted, &new_seed()))
    }

    /// The keys that can be used, up to as many as a server is bothered with; `None` if there is none.
    fn usable(&self) -> Option<Vec<Identity>> {
        let usable = self.all().iter().filter_map(|key| key.key);
        let keys: Vec<_> = usable.take(MOST_TRIED).collect();
        let identities = keys.iter().filter_map(|key| self.identity(key));
        let identities: Vec<_> = identities.collect();
        tracing::info!(
            keys = identities.len(),
            "using ssh-agent; -i FILE.pub chooses a key"
        );
        (!identities.is_empty()).then_some(identities)
    }

    /// What there is, for messages.
    fn found(&self) -> String {
        let keys = match (self.asked(), self.agent) {
            (Err(error), _) => return error.to_string(),
            (Ok(_), None) => {
                return "no ssh-agent is running (SSH_AUTH_SOCK is not set)".to_owned();
            }
            (Ok(keys), Some(_)) => keys,
        };
        let mut kinds: Vec<_> = keys.iter().map(|key| key.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        match kinds.is_empty() {
            true => "ssh-agent has no keys".to_owned(),
            false => format!("ssh-agent has only {}", kinds.join(", ").escape_debug()),
        }
    }
}

/// The public key in the file `path`, if it is one; an error if it cannot be used.
fn read_public(path: &Path) -> Option<Result<PublicKey, IdentityError>> {
    let (bytes, _) = guarded_file::read(path, Guard::Trusted).ok()?;
    let text = str::from_utf8(&bytes).ok()?;
    let mut words = text.split_ascii_whitespace();
    let (kind, base64) = (words.next()?, words.next()?);
    let is_public = ["ssh-", "ecdsa-", "sk-"]
        .iter()
        .any(|prefix| kind.starts_with(prefix));
    is_public.then(|| {
        openssh::parse_key(kind, base64).map_err(|_| IdentityError::Kind {
            path: path.to_owned(),
            kind: kind.escape_debug().to_string(),
        })
    })
}

/// A server's key and whether it is new.
#[derive(Debug)]
pub struct HostKey {
    /// The key.
    pub identity: Identity,
    /// It was made just now: nobody knows it yet.
    pub is_new: bool,
}

/// Loads the host key `path`, or makes it, mode 0600, if there is none.
///
/// # Errors
/// See [`IdentityError`].
pub fn load_or_make_host_key(path: &Path, prompt: &dyn Prompt) -> Result<HostKey, IdentityError> {
    match read(path, &AgentKeys::none(), prompt) {
        Ok(identity) => Ok(HostKey {
            identity,
            is_new: false,
        }),
        Err(IdentityError::Missing(_)) => {
            let is_new = make(path).map_err(|error| IdentityError::Make {
                path: path.to_owned(),
                error,
            })?;
            let identity = read(path, &AgentKeys::none(), prompt)?;
            Ok(HostKey { identity, is_new })
        }
        Err(error) => Err(error),
    }
}

/// A key for one run, written nowhere.
///
/// # Panics
/// The operating system has no random numbers, without which nothing is safe.
pub fn ephemeral() -> Identity {
    Identity::from_seed(&new_seed())
}

fn new_seed() -> Zeroizing<[u8; 32]> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut *seed)
        .expect("the operating system provides random numbers");
    seed
}

fn read(
    path: &Path,
    agent: &AgentKeys<'_>,
    prompt: &dyn Prompt,
) -> Result<Identity, IdentityError> {
    let bytes = match guarded_file::read(path, Guard::Secret) {
        Ok((bytes, _)) => bytes,
        Err(GuardError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(IdentityError::Missing(path.to_owned()));
        }
        Err(error) => {
            return Err(IdentityError::Guard {
                path: path.to_owned(),
                error,
            });
        }
    };
    let key =
        PrivateKey::from_openssh(&*bytes).map_err(|_| IdentityError::Format(path.to_owned()))?;
    let kind = key.algorithm();
    if kind != ssh_key::Algorithm::Ed25519 {
        return Err(IdentityError::Kind {
            path: path.to_owned(),
            kind: kind.as_str().to_owned(),
        });
    }
    if key.is_encrypted()
        && let Some(public) = key.public_key().key_data().ed25519()
        && let Some(identity) = agent.identity(&PublicKey::from_bytes(public.0))
    {
        return Ok(identity);
    }
    let key = if key.is_encrypted() {
        unlock(path, &key, prompt)?
    } else {
        key
    };
    match key.key_data() {
        KeypairData::Ed25519(pair) => {
            let seed = Zeroizing::new(pair.private.to_bytes());
            Ok(Identity::from_seed(&seed))
        }
        _ => Err(IdentityError::Format(path.to_owned())),
    }
}

fn unlock(path: &Path, key: &PrivateKey, prompt: &dyn Prompt) -> Result<PrivateKey, IdentityError> {
    if !prompt.is_available() {
        return Err(IdentityError::NoTerminal(path.to_owned()));
    }
    let question = format!("Passphrase of the key {}: ", path.display());
    for _ in 0..PASSPHRASE_ATTEMPTS {
        let passphrase = prompt
            .passphrase(&question)
            .map_err(|_| IdentityError::NoTerminal(path.to_owned()))?;
        if let Ok(key) = key.decrypt(passphrase.as_bytes()) {
            return Ok(key);
        }
    }
    Err(IdentityError::Passphrase(path.to_owned()))
}

/// Writes a new key to `path` unless there is one by now; whether it was written.
fn make(path: &Path) -> io::Result<bool> {
    dirs::make_parent(path)?;
    let pair = Ed25519Keypair::from_seed(&new_seed());
    let text = PrivateKey::new(KeypairData::Ed25519(pair), "rpserver host key")
        .and_then(|key| key.to_openssh(LineEnding::LF))
        .map_err(io::Error::other)?;

    // A whole file appears under the name or none: two servers started at once use the same key,
    // and power that fails leaves no half of one.
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", rand::random::<u32>()));
    let draft = PathBuf::from(draft);
    let written = write_secret(&draft, text.as_bytes()).and_then(|()| fs::hard_link(&draft, path));
    let _gone = fs::remove_file(&draft);
    match written {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a killed predecessor left may have any mode, or be a link.
    let _gone = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
