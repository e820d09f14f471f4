//! Whether a client trusts the server it reached: by a fingerprint the user gave, or by the list
//! of known hosts, asking once about a server nobody knows.
//!
//! The question cannot be put inside the handshake, for a person takes longer than a handshake may.
//! So the verifier refuses an unknown key and remembers it; the program then calls
//! [`HostKeyPolicy::settle`], which asks and stores the answer, and connects again:
//!
//! 1. connect; `ConnectionError::PeerRejected` comes back and [`HostKeyPolicy::unknown`] is a key;
//! 2. `settle(&Terminal)`: an error ends the program with its text;
//! 3. connect again with the same policy, which accepts that key and no other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rp_protocol::crypto::identity::{PeerRejected, PeerVerifier, PublicKey};
use thiserror::Error;

use crate::{
    known_hosts::{HostName, KnownHosts, KnownKey},
    openssh::Fingerprint,
    prompt::Prompt,
};

#[cfg(test)]
mod tests;

/// How often an answer may be neither yes nor no.
const QUESTIONS: usize = 3;

/// Why a server nobody knows stays unknown.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostKeyError {
    /// There is nobody to ask.
    #[error(
        "the key of {host} is not known and there is no terminal to ask on: compare {key} with \
         what rpserver prints, then give it with --host-key {key}"
    )]
    NoTerminal {
        /// The server.
        host: HostName,
        /// Its key's fingerprint.
        key: String,
    },
    /// The user does not trust it.
    #[error("the key of {0} was not accepted")]
    Declined(HostName),
}

/// Decides about the key of one server.
#[derive(Debug)]
pub struct HostKeyPolicy {
    host: HostName,
    rule: Rule,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Rule {
    /// One key, unless the list revokes it.
    Fingerprint(Fingerprint, Option<KnownHosts>),
    /// This key.
    Key(PublicKey),
    Known(KnownHosts),
}

#[derive(Debug, Default)]
struct State {
    /// Refused only because nobody knows it.
    unknown: Option<PublicKey>,
    /// Accepted by the user in this run.
    accepted: Option<PublicKey>,
}

impl HostKeyPolicy {
    /// Trusts the one key named, whatever is known of `host`, unless it is revoked in `list`.
    pub fn fingerprint(host: HostName, fingerprint: Fingerprint, list: Option<KnownHosts>) -> Self {
        Self::new(host, Rule::Fingerprint(fingerprint, list))
    }

    /// Trusts `key` alone, which was told by other means.
    pub fn key(host: HostName, key: &PublicKey) -> Self {
        Self::new(host, Rule::Key(*key))
    }

    /// Trusts the keys that `list` has for `host`.
    pub fn known(host: HostName, list: KnownHosts) -> Self {
        Self::new(host, Rule::Known(list))
    }

    fn new(host: HostName, rule: Rule) -> Self {
        Self {
            host,
            rule,
            state: Mutex::default(),
        }
    }

    /// The key the server showed, if it was refused only because nobody knows it.
    pub fn unknown(&self) -> Option<PublicKey> {
        self.state().unknown
    }

    /// Asks `prompt` whether to trust the [unknown](Self::unknown) key, and remembers a yes in the
    /// list. Nothing to settle is settled.
    ///
    /// # Errors
    /// Nobody can be asked, or the answer was no.
    pub fn settle(&self, prompt: &dyn Prompt) -> Result<(), HostKeyError> {
        let Some(key) = self.unknown() else {
            return Ok(());
        };
        if !self.ask(&key, prompt)? {
            return Err(HostKeyError::Declined(self.host.clone()));
        }
        if let Rule::Known(list) = &self.rule
            && let Err(error) = list.add(&self.host, &key)
        {
            // The answer holds for this run all the same, as in ssh.
            let path = list.path().display();
            tracing::warn!(%path, %error, "the host key could not be remembered");
        }
        let mut state = self.state();
        state.unknown = None;
        state.accepted = Some(key);
        Ok(())
    }

    fn ask(&self, key: &PublicKey, prompt: &dyn Prompt) -> Result<bool, HostKeyError> {
        let no_terminal = || HostKeyError::NoTerminal {
            host: self.host.clone(),
            key: key.fingerprint(),
        };
        if !prompt.is_available() {
            return Err(no_terminal());
        }
        let mut question = format!(
            "The key of {} is not known yet. Its fingerprint is\n  {key}\n\
             Compare it with what rpserver printed on its first start.\n\
             Trust this key from now on (yes/no/the fingerprint)? ",
            self.host
        );
        for _ in 0..QUESTIONS {
            let Some(answer) = prompt.ask(&question).map_err(|_| no_terminal())? else {
                return Ok(false);
            };
            match answer.trim() {
                "no" => return Ok(false),
                "yes" => return Ok(true),
                other => {
                    if let Ok(fingerprint) = other.parse::<Fingerprint>() {
                        return Ok(fingerprint.names(key));
                    }
                }
            }
            "Please type yes, no or the fingerprint: ".clone_into(&mut question);
        }
        Ok(false)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `list` has for the host; an error if it revokes `key`.
    fn not_revoked(
        &self,
        list: &KnownHosts,
        key: &PublicKey,
    ) -> Result<Vec<KnownKey>, PeerRejected> {
        let host = &self.host;
        let known = list
            .lookup(host)
            .map_err(|error| PeerRejected(error.to_string()))?;
        if known.iter().any(|k| k.is_revoked && k.key == *key) {
            return Err(PeerRejected(format!(
                "{key}, the key of {host}, is revoked in {}",
                list.path().display()
            )));
        }
        Ok(known)
    }

    fn verify_known(&self, list: &KnownHosts, key: &PublicKey) -> Result<(), PeerRejected> {
        let host = &self.host;
        let known = self.not_revoked(list, key)?;
        let accepted = self.state().accepted;
        if accepted == Some(*key) || known.iter().any(|k| k.key == *key) {
            return Ok(());
        }
        if let Some(old) = known.iter().find(|k| !k.is_revoked) {
            return Err(PeerRejected(format!(
                "THE KEY OF {host} HAS CHANGED: it shows {key}, but {path} line {line} knows {}. \
                 Someone may be in between, or the server was set up anew. If you know it was, \
                 remove the line: ssh-keygen -R '{host}' -f {path}",
                old.key,
                path = list.path().display(),
                line = old.line,
            )));
        }
        if let Some(accepted) = accepted {
            return Err(PeerRejected(format!(
                "THE KEY OF {host} HAS CHANGED: it shows {key}, but {accepted} was accepted"
            )));
        }
        self.state().unknown = Some(*key);
        Err(PeerRejected(format!(
            "the key of {host}, {key}, is not known; compare it with what rpserver prints and give \
             it with --host-key {key}"
        )))
    }
}

impl PeerVerifier for HostKeyPolicy {
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected> {
        self.state().unknown = None;
        match &self.rule {
            Rule::Fingerprint(wanted, list) if wanted.names(key) => match list {
                Some(list) => self.not_revoked(list, key).map(drop),
                None => Ok(()),
            },
            Rule::Fingerprint(wanted, _) => Err(PeerRejected(format!(
                "{} shows the key {key}, not {wanted} as --host-key wants it",
                self.host
            ))),
            Rule::Key(wanted) if wanted == key => Ok(()),
            Rule::Key(wanted) => Err(PeerRejected(format!(
                "{} shows the key {key}, not {wanted}, which it was said to have",
                self.host
            ))),
            Rule::Known(list) => self.verify_known(list, key),
        }
    }
}
