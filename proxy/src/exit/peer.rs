//! Who asks an exit for something, and what it may. What is done for it lives in the exit.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use rp_protocol::{Connection, crypto::identity::PublicKey};

use super::{AccessCheck, counters::KeyAccount};
use crate::{datagram::router::Router, open::Options, target::Target};

/// Who asks.
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) key: PublicKey,
    pub(super) link: Connection,
    pub(super) account: KeyAccount,
    pub(super) connection: u64,
    pub(super) access: Box<dyn AccessCheck>,
    /// Its UDP associations' datagrams, once it has any.
    pub(super) router: OnceLock<Arc<Router>>,
}

impl Peer {
    /// Where a connection comes from, as targets are told that ask for it.
    //= spec/10-proxy.md#proxy-protocol
    //# An exit MUST NOT write a source into it that the client has said and its key may not.
    pub(super) fn source(&self, options: Options) -> SocketAddr {
        let named = options.source;
        let named = named.map(|named| SocketAddr::new(named.ip().to_canonical(), named.port()));
        named
            .filter(|source| self.access.may_name_source(source.ip()))
            .unwrap_or_else(|| self.link.remote_address())
    }

    pub(super) fn may_dial(&self, target: &Target) -> bool {
        let access = self.access.target_access();
        access.is_some_and(|access| access.allows(target))
    }
}
