//! Two handshakes joined by an on-path attacker who follows the input: whoever completes knows its peer.

use std::sync::Arc;

use super::input::Input;
use crate::{
    config::{ClientConfig, ServerConfig},
    crypto::{
        handshake::{ClientCrypto, KeyChange, Level, ServerCrypto, Session},
        identity::{Identity, PeerRejected, PeerVerifier, PublicKey},
    },
};

const CLIENT_SEED: [u8; 32] = [1; 32];
const SERVER_SEED: [u8; 32] = [2; 32];
const CLIENT_PARAMETERS: &[u8] = &[0x31, 0x01, 0x02];
const SERVER_PARAMETERS: &[u8] = &[0x31, 0x01, 0x03];

/// Trusts everyone: what is checked here is whose key it says it was.
#[derive(Debug)]
pub(super) struct Anyone;

impl PeerVerifier for Anyone {
    fn verify(&self, _: &PublicKey) -> Result<(), PeerRejected> {
        Ok(())
    }
}

/// One end, the level it writes at, and what it has written but not sent.
struct End {
    session: Session,
    writing: Level,
    flight: Vec<(Level, Vec<u8>)>,
    failed: bool,
}

impl End {
    fn new(session: Session) -> Self {
        let mut end = Self {
            session,
            writing: Level::Initial,
            flight: Vec::new(),
            failed: false,
        };
        end.write();
        end
    }

    fn write(&mut self) {
        loop {
            let mut bytes = Vec::new();
            let change = self.session.write(&mut bytes);
            if !bytes.is_empty() {
                self.flight.push((self.writing, bytes));
            }
            match change {
                None => return,
                Some(KeyChange::Handshake(_)) => self.writing = Level::Handshake,
                Some(KeyChange::Data(_)) => self.writing = Level::Data,
            }
        }
    }

    /// A connection whose handshake failed is closed: it reads nothing more.
    fn read(&mut self, level: Level, bytes: &[u8]) {
        if self.failed {
            return;
        }
        match self.session.read(level, bytes) {
            // The keys of the next level come from writing, so it must follow every reading.
            Ok(()) => self.write(),
            Err(_) => self.failed = true,
        }
    }

    /// Must be true however the bytes between the two were changed.
    fn check(&self, peer_seed: &[u8; 32], peer_parameters: &[u8]) {
        if self.failed || self.session.is_handshaking() {
            return;
        }
        let peer = Identity::from_seed(peer_seed).public_key();
        assert_eq!(self.session.peer(), Some(peer));
        assert_eq!(self.session.peer_parameters(), Some(peer_parameters));
        assert_eq!(self.session.service(), Some("rpp-fuzz/1"));
    }
}

/// Runs a handshake whose flights are delivered, cut, flipped, repeated, moved to another level,
/// dropped or forged as `data` says.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let (client, server) = (
        Arc::new(Identity::from_seed(&CLIENT_SEED)),
        Arc::new(Identity::from_seed(&SERVER_SEED)),
    );
    let client = ClientCrypto::new(&ClientConfig::new(client, Arc::new(Anyone), "rpp-fuzz/1"));
    let server = ServerCrypto::new(&ServerConfig::new(
        server,
        Arc::new(Anyone),
        &["rpp-fuzz/1"],
    ));
    let client = Session::client(&client, CLIENT_PARAMETERS.to_vec());
    let server = Session::server(&server, SERVER_PARAMETERS.to_vec());
    let (Ok(client), Ok(server)) = (client, server) else {
        unreachable!("the parameters are short and fixed")
    };
    let (mut client, mut server) = (End::new(client), End::new(server));
    let mut untouched = true;
    // A handshake takes two rounds; a third shows what comes after it.
    for _ in 0..3 {
        untouched &= deliver(&mut client, &mut server, &mut input);
        untouched &= deliver(&mut server, &mut client, &mut input);
    }
    if untouched {
        assert!(!client.session.is_handshaking() && !server.session.is_handshaking());
    }
    client.check(&SERVER_SEED, SERVER_PARAMETERS);
    server.check(&CLIENT_SEED, CLIENT_PARAMETERS);
}

/// Carries one flight across; whether it was left as it was.
fn deliver(from: &mut End, to: &mut End, input: &mut Input<'_>) -> bool {
    let mut untouched = true;
    for (level, mut bytes) in std::mem::take(&mut from.flight) {
        // Zero, as at the end of the input, delivers unchanged.
        let choice = input.u8() % 8;
        untouched &= choice == 0;
        match choice {
            1 => {}
            2 => {
                to.read(level, &bytes);
                to.read(level, &bytes);
            }
            3 => {
                let at = input.below(bytes.len());
                bytes[at] ^= 1 << (input.u8() % 8);
                to.read(level, &bytes);
            }
            4 => to.read(other(level, input), &bytes),
            5 => {
                let at = input.below(bytes.len());
                let (first, second) = bytes.split_at(at);
                to.read(level, first);
                to.read(level, second);
            }
            6 => {
                to.read(other(level, input), input.bytes(256));
                to.read(level, &bytes);
            }
            7 => {
                let at = input.below(bytes.len());
                to.read(level, &bytes[..at]);
            }
            _ => to.read(level, &bytes),
        }
    }
    untouched
}

fn other(level: Level, input: &mut Input<'_>) -> Level {
    match input.u8() % 4 {
        0 => Level::Initial,
        1 => Level::Handshake,
        2 => Level::Data,
        _ => level,
    }
}
