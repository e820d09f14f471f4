//! Private keys in files: the user's own, and the server's, which is made on first start.
//! Whom a key is trusted by is told elsewhere.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use rp_protocol::crypto::identity::Identity;
use ssh_key::{
    LineEnding, PrivateKey,
    private::{Ed25519Keypair, KeypairData},
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    dirs,
    guarded_file::{self, Guard, GuardError},
    prompt::Prompt,
};

#[cfg(test)]
mod tests;

/// How often a passphrase may be mistyped, as in ssh.
const PASSPHRASE_ATTEMPTS: usize = 3;

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
    #[error("cannot use the key {}: {error}", path.display())]
    Guard {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        error: GuardError,
    },
    /// The file is no OpenSSH private key.
    #[error("{} is not a private key in OpenSSH's format", .0.display())]
    Format(PathBuf),
    /// The key is of a type RPP does not use.
    #[error("the key {} is of type {kind}, not Ed25519; make one with: ssh-keygen -t ed25519", path.display())]
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

/// The user's key when none is named: `~/.ssh/id_ed25519`.
pub fn default_path() -> Option<PathBuf> {
    Some(dirs::home()?.join(".ssh").join("id_ed25519"))
}

/// The server's key when none is named.
pub fn default_host_key_path() -> Option<PathBuf> {
    Some(dirs::config()?.join("host_key"))
}

/// Loads the key `path`, or the user's default one, asking `prompt` for the passphrase if it has
/// one.
///
/// # Errors
/// See [`IdentityError`]; its text says what to do.
pub fn load(path: Option<&Path>, prompt: &dyn Prompt) -> Result<Identity, IdentityError> {
    match path {
        Some(path) => read(path, prompt),
        None => read(&default_path().ok_or(IdentityError::NoHome)?, prompt),
    }
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
    match read(path, prompt) {
        Ok(identity) => Ok(HostKey {
            identity,
            is_new: false,
        }),
        Err(IdentityError::Missing(_)) => {
            let is_new = make(path).map_err(|error| IdentityError::Make {
                path: path.to_owned(),
                error,
            })?;
            let identity = read(path, prompt)?;
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

fn read(path: &Path, prompt: &dyn Prompt) -> Result<Identity, IdentityError> {
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
