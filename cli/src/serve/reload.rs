//! Which settings a running `rpserver` takes up, and how.

use std::{net::SocketAddr, sync::Arc};

use super::{Server, own_listeners};
use crate::{
    args::server::ServerOptions,
    exit_code::Failure,
    logging::{self, Level},
    reload::Source,
    settings::ServerSettings,
};

/// The options that a running server applies.
const APPLIED: [&str; 11] = [
    "allow",
    "deny",
    "permit-listen",
    "rate",
    "max-connections",
    "max-connections-per-key",
    "max-connections-per-network",
    "max-anonymous",
    "max-anonymous-per-network",
    "drain",
    "log-level",
];

/// Reads the settings again and applies what is different; a mistake in them changes nothing. Lists of
/// keys and passwords are read anew whenever they are asked.
///
/// # Errors
/// That mistake.
pub(super) fn reload(
    server: &Arc<Server>,
    source: &mut Source<ServerOptions>,
    local: SocketAddr,
) -> Result<(), Failure> {
    let (settings, effective) = source.read(ServerOptions::or, ServerSettings::new)?;
    let policy = own_listeners(&settings.policy, local, server.admin);
    server.policy.replace(&policy);
    server.set_listen_access(settings.listen_access);
    server.clients.set_limits(settings.connections);
    server.rate.set(settings.rate);
    server.present.each(|session| session.refresh());
    server.set_drain(settings.drain);
    logging::set_level(settings.log_level.unwrap_or(Level::INFO));
    source.say_changed(&effective, &APPLIED);
    Ok(())
}
