//! Who is let in: the keys of a list, or with `--once-key` one that is made for one client and one fetch.

use std::net::{IpAddr, SocketAddr};

use rp_protocol::{Connection, error::ConnectionError};
use tokio::sync::Notify;
use tracing::info;

use crate::{
    authorized_keys::AuthorizedKeys,
    close_code,
    exit_code::{ExitCode, Failure},
    identity::{self, HostKey},
    once_key::{OnceKey, reachable},
    prompt::Terminal,
    run,
    settings::ServerSettings,
};

/// The key that is good for one fetch.
#[derive(Debug)]
pub(super) struct Once {
    key: OnceKey,
    used: Notify,
}

/// The server's key; with `--once-key` one that nobody is to know after this.
pub(super) fn host_key(settings: &ServerSettings) -> Result<(HostKey, Option<Once>), Failure> {
    if !settings.once_key {
        let host_key = identity::load_or_make_host_key(&settings.key, &Terminal)
            .map_err(|error| Failure::new(ExitCode::Failed, error.to_string()))?;
        return Ok((host_key, None));
    }
    let identity = identity::ephemeral();
    let once = Once {
        key: OnceKey::new(identity.public_key()),
        used: Notify::new(),
    };
    let is_new = true;
    Ok((HostKey { identity, is_new }, Some(once)))
}

/// Whom the server lets in.
pub(super) fn authorized_keys(settings: &ServerSettings, once: Option<&Once>) -> AuthorizedKeys {
    if let (Some(once), Some(root)) = (once, &settings.root) {
        return AuthorizedKeys::only(once.key.identity().public_key(), root.clone());
    }
    let mut keys = AuthorizedKeys::new(settings.authorized_keys.clone());
    if let (true, Some(root)) = (settings.anonymous, &settings.root) {
        keys = keys.anonymous(root.clone());
    }
    if keys.is_empty() && !settings.anonymous {
        let path = settings.authorized_keys.display();
        info!(%path, "no keys yet: nobody is let in until a public key is added");
    }
    keys
}

/// Says who listens where, or what fetches everything from there.
pub(super) fn introduce(once: Option<&Once>, fingerprint: &str, is_new: bool, local: SocketAddr) {
    if let Some(once) = once {
        return once.say(local);
    }
    let is_new = if is_new { " (new)" } else { "" };
    run::say(&format!("host key {fingerprint}{is_new}"));
    run::say(&format!("listening on {local}"));
}

impl Once {
    /// Says the line for the other machine, and nothing else: it is to be copied.
    fn say(&self, local: SocketAddr) {
        let address = reachable(local);
        run::say(&self.key.line(address));
        if is_private(address.ip()) {
            info!(
                %address,
                "paste the line at the other machine; from outside of this network, put the address by which this \
                 machine is reached there in place of its own"
            );
        } else {
            info!(%address, "paste the line at the other machine; UDP has to reach this port");
        }
    }

    /// A client left. One that ended as it should has fetched what it wanted; one that was cut off may come again.
    pub(super) async fn on_left(&self, connection: &Connection) {
        let how = connection.closed().await;
        if matches!(how, ConnectionError::PeerClosed { code, .. } if code == close_code::DONE) {
            self.used.notify_one();
        }
    }
}

/// Done when the key is used up; never where there is none.
pub(super) async fn used(once: Option<&Once>) {
    match once {
        Some(once) => once.used.notified().await,
        None => std::future::pending().await,
    }
}

/// Whether others elsewhere know the address as another.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_private() || address.is_loopback() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}
