//! `ssh-agent`: which keys it has, and signatures by them (draft-ietf-sshm-ssh-agent).
//! Which of the keys is used is decided in `identity`.

use std::{
    env,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rp_protocol::crypto::identity::{Identity, PublicKey, Sign, SigningFailed};
use thiserror::Error;

use crate::openssh::KEY_TYPE;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// Numbers of messages (section 6.1 of the draft).
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Longest answer taken, as OpenSSH does.
const MAX_ANSWER: u32 = 256 << 10;

/// Most keys taken from an answer.
const MAX_KEYS: u32 = 1024;

/// How long an answer may take: an agent may ask the user first (`ssh-add -c`), but a handshake does
/// not last for ever.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Why the agent is of no use.
#[derive(Debug, Error)]
pub enum AgentError {
    /// It cannot be reached, or falls silent.
    #[error("ssh-agent does not answer at {}: {error}", path.display())]
    Io {
        /// Its socket.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// It says no.
    #[error("ssh-agent refuses to sign: it is locked, or the key is not for this")]
    Refused,
    /// Its answer is none.
    #[error("what answers at ssh-agent's socket is not an ssh-agent")]
    Nonsense,
}

/// A key the agent has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentKey {
    /// Its type, as `ssh-rsa`.
    pub kind: String,
    /// The key, if it is one that can be used.
    pub key: Option<PublicKey>,
    /// Its comment.
    pub comment: String,
}

/// An agent that may be asked.
#[derive(Clone, Debug)]
pub struct Agent {
    socket: PathBuf,
}

impl Agent {
    /// The agent at `socket`.
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The one the environment names.
    pub fn from_env() -> Option<Self> {
        let socket = env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty())?;
        Some(Self::new(socket.into()))
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The keys it has.
    ///
    /// # Errors
    /// It gives no sensible answer.
    pub fn keys(&self) -> Result<Vec<AgentKey>, AgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES])?;
        identities(&answer).ok_or(AgentError::Nonsense)
    }

    /// The identity of `key`, with which the agent signs.
    pub fn identity(&self, key: PublicKey, seed: &[u8; 32]) -> Identity {
        let signer = AgentSigner {
            agent: self.clone(),
            key,
        };
        Identity::external(key, Arc::new(signer), seed)
    }

    fn sign(&self, key: &PublicKey, message: &[u8]) -> Result<[u8; 64], AgentError> {
        let answer = self.ask(&sign_request(key, message))?;
        if answer.first() != Some(&SIGN_RESPONSE) {
            return Err(AgentError::Refused);
        }
        signature(&answer).ok_or(AgentError::Nonsense)
    }

    /// The answer to `message`, both without the length before them.
    fn ask(&self, message: &[u8]) -> Result<Vec<u8>, AgentError> {
        let failed = |error| AgentError::Io {
            path: self.socket.clone(),
            error,
        };
        let (mut stream, length) = self.begin(message).map_err(failed)?;
        if length == 0 || length > MAX_ANSWER {
            return Err(AgentError::Nonsense);
        }
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).map_err(failed)?;
        Ok(answer)
    }

    /// Sends `message` and gives the length of the answer, which follows.
    fn begin(&self, message: &[u8]) -> io::Result<(UnixStream, u32)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut request = Vec::with_capacity(4 + message.len());
        put_string(&mut request, message);
        stream.write_all(&request)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        Ok((stream, u32::from_be_bytes(length)))
    }
}

/// Signs with one of the agent's keys.
#[derive(Debug)]
struct AgentSigner {
    agent: Agent,
    key: PublicKey,
}

impl Sign for AgentSigner {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SigningFailed> {
        let signature = self.agent.sign(&self.key, message);
        signature.map_err(|error| SigningFailed(error.to_string()))
    }
}

/// Appends `bytes` with their length before them (RFC 4251 section 5).
fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("nothing of 4 GiB is sent to an agent");
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(bytes);
}

/// The request to sign `message`, without the length before it.
fn sign_request(key: &PublicKey, message: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, KEY_TYPE.as_bytes());
    put_string(&mut blob, key.as_bytes());
    let mut request = vec![SIGN_REQUEST];
    put_string(&mut request, &blob);
    put_string(&mut request, message);
    // No flags: they are about RSA.
    request.extend_from_slice(&[0; 4]);
    request
}

/// Reads what agents write (RFC 4251 section 5).
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }
}

/// The keys in an answer.
fn identities(answer: &[u8]) -> Option<Vec<AgentKey>> {
    let mut reader = Reader(answer.strip_prefix(&[IDENTITIES_ANSWER])?);
    let count = reader.u32()?.min(MAX_KEYS);
    (0..count)
        .map(|_| {
            let (blob, comment) = (reader.string()?, reader.string()?);
            let mut blob = Reader(blob);
            let kind = String::from_utf8_lossy(blob.string()?).into_owned();
            let key = match kind.as_str() {
                KEY_TYPE => Some(PublicKey::from_bytes(blob.string()?.try_into().ok()?)),
                _ => None,
            };
            let comment = String::from_utf8_lossy(comment).into_owned();
            Some(AgentKey { kind, key, comment })
        })
        .collect()
}

/// The signature in an answer.
fn signature(answer: &[u8]) -> Option<[u8; 64]> {
    let mut reader = Reader(answer.strip_prefix(&[SIGN_RESPONSE])?);
    let mut signature = Reader(reader.string()?);
    if signature.string()? != KEY_TYPE.as_bytes() {
        return None;
    }
    signature.string()?.try_into().ok()
}
