//! Identities, verifiers and finished handshakes for tests of this crate.
//! Nothing here is compiled into the library.

use std::sync::{Arc, Mutex};

use super::{
    handshake::{ClientCrypto, KeyChange, Level, ServerCrypto, Session, SessionError},
    identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
    keys::{DataKeys, LevelKeys},
};
use crate::config::{ClientConfig, ServerConfig};

/// The service test peers speak.
pub(crate) const SERVICE: &str = "rpp-test/1";

/// The identity grown from a seed of this byte.
pub(crate) fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[seed; 32]))
}

/// Trusts one key, or any, and remembers what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    pub(crate) only: Option<PublicKey>,
    pub(crate) asked: Mutex<Vec<PublicKey>>,
}

impl Trust {
    pub(crate) fn any() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn only(key: PublicKey) -> Arc<Self> {
        Arc::new(Self {
            only: Some(key),
            asked: Mutex::default(),
        })
    }
}

impl PeerVerifier for Trust {
    fn verify(&self, key: &PublicKey) -> Result<(), PeerRejected> {
        self.asked.lock().unwrap().push(*key);
        if self.only.is_none_or(|only| only == *key) {
            Ok(())
        } else {
            Err(PeerRejected(format!("{key} is not the key I know")))
        }
    }
}

/// A client that trusts anyone.
pub(crate) fn client_config() -> ClientConfig {
    ClientConfig::new(identity(1), Trust::any(), SERVICE)
}

/// A server that lets anyone in.
pub(crate) fn server_config() -> ServerConfig {
    ServerConfig::new(identity(2), Trust::any(), &["rpp-other/1", SERVICE])
}

/// One end of a handshake with the keys it has so far.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) handshake: Option<LevelKeys>,
    pub(crate) data: Option<DataKeys>,
    pub(crate) writing: Level,
}

impl Peer {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session,
            handshake: None,
            data: None,
            writing: Level::Initial,
        }
    }

    /// All there is to send, by level.
    pub(crate) fn flight(&mut self) -> Vec<(Level, Vec<u8>)> {
        let mut flight = Vec::new();
        loop {
            let mut bytes = Vec::new();
            let change = self.session.write(&mut bytes);
            if !bytes.is_empty() {
                flight.push((self.writing, bytes));
            }
            match change {
                None => return flight,
                Some(KeyChange::Handshake(keys)) => {
                    self.handshake = Some(keys);
                    self.writing = Level::Handshake;
                }
                Some(KeyChange::Data(keys)) => {
                    self.data = Some(keys);
                    self.writing = Level::Data;
                }
            }
        }
    }
}

/// A client and a server about to shake hands.
pub(crate) fn peers(client: &ClientConfig, server: &ServerConfig) -> (Peer, Peer) {
    let client = Session::client(&ClientCrypto::new(client), b"client's".to_vec());
    let server = Session::server(&ServerCrypto::new(server), b"server's".to_vec());
    (Peer::new(client.unwrap()), Peer::new(server.unwrap()))
}

/// Carries flights to and fro until there are none; the error and who met it.
pub(crate) fn drive(
    client: &mut Peer,
    server: &mut Peer,
) -> Result<(), (&'static str, SessionError)> {
    loop {
        let from_client = client.flight();
        for (level, bytes) in &from_client {
            (server.session.read(*level, bytes)).map_err(|error| ("server", error))?;
        }
        let from_server = server.flight();
        for (level, bytes) in &from_server {
            (client.session.read(*level, bytes)).map_err(|error| ("client", error))?;
            // The keys a level needs come from the level before it.
            let answer = client.flight();
            for (level, bytes) in &answer {
                (server.session.read(*level, bytes)).map_err(|error| ("server", error))?;
            }
        }
        if from_client.is_empty() && from_server.is_empty() {
            return Ok(());
        }
    }
}

/// The data keys of both ends of a finished handshake, client's first.
pub(crate) fn data_keys() -> (DataKeys, DataKeys) {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    drive(&mut client, &mut server).unwrap();
    (client.data.unwrap(), server.data.unwrap())
}

/// `spec/vectors/sealing.json`, which other implementations read as well.
pub(crate) fn sealing_vectors() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec/vectors/sealing.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The bytes that `field` of `object` has in hexadecimal digits.
pub(crate) fn hex(object: &serde_json::Value, field: &str) -> Vec<u8> {
    let digits = object[field].as_str().expect(field);
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect(field))
        .collect()
}
