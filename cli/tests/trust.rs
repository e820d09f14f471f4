//! Trust over real handshakes on the loopback: who is asked, who is let in, what the user reads.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set up its scene may stop"
)]

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rp_cli::{
    authorized_keys::AuthorizedKeys,
    connect::{ConnectFailure, Connected, Family, Server, Trust, connect},
    identity,
    known_hosts::{HostName, KnownHosts},
    openssh,
    prompt::{Nobody, Prompt},
};
use rp_protocol::{
    Endpoint,
    config::{EndpointConfig, ServerConfig, TransportConfig},
    crypto::identity::{Identity, PeerVerifier},
};
use zeroize::Zeroizing;

const SERVICE: &str = "rpp-test/1";

/// Says yes and counts how often.
#[derive(Debug, Default)]
struct Trusting(AtomicUsize);

impl Prompt for Trusting {
    fn is_available(&self) -> bool {
        true
    }

    fn ask(&self, _question: &str) -> io::Result<Option<String>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Some("yes".to_owned()))
    }

    fn passphrase(&self, _question: &str) -> io::Result<Zeroizing<String>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A server that keeps every connection until the client closes it.
fn serve(identity: Identity, verifier: Arc<dyn PeerVerifier>) -> (Endpoint, SocketAddr) {
    let config = ServerConfig::new(Arc::new(identity), verifier, &[SERVICE]);
    let endpoint = Endpoint::bind(loopback(), EndpointConfig::default(), Some(config)).unwrap();
    let address = endpoint.local_addr().unwrap();
    let server = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            tokio::spawn(async move {
                if let Ok(connection) = incoming.accept().await {
                    connection.closed().await;
                }
            });
        }
    });
    (endpoint, address)
}

/// A list that lets `identity` in.
fn authorized(dir: &Path, identity: &Identity) -> Arc<AuthorizedKeys> {
    let path = dir.join("authorized_keys");
    fs::write(&path, openssh::format_key(&identity.public_key())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Arc::new(AuthorizedKeys::new(path))
}

/// A client's folder: its key and the hosts it knows.
struct Client {
    dir: tempfile::TempDir,
    identity: Identity,
}

impl Client {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = identity::load_or_make_host_key(&dir.path().join("id"), &Nobody).unwrap();
        Self {
            dir,
            identity: key.identity,
        }
    }

    fn known_hosts(&self) -> PathBuf {
        self.dir.path().join("known_hosts")
    }

    async fn connect(
        &self,
        address: SocketAddr,
        prompt: &dyn Prompt,
    ) -> Result<Connected, ConnectFailure> {
        let server = Server {
            host: address.ip().to_string(),
            port: address.port(),
        };
        let trust = Trust {
            identity: Some(self.dir.path().join("id")),
            host_key: None,
            known_hosts: Some(self.known_hosts()),
        };
        let transport = TransportConfig::default();
        connect(&server, Family::Any, &trust, SERVICE, transport, prompt).await
    }
}

#[tokio::test]
async fn unknown_server_is_asked_about_once_and_a_changed_key_refused() {
    let client = Client::new();
    let keys = authorized(client.dir.path(), &client.identity);
    let host_key = identity::ephemeral();
    let fingerprint = host_key.public_key().fingerprint();
    let (_server, address) = serve(host_key, keys);

    let error = client.connect(address, &Nobody).await.unwrap_err();
    let wanted = format!("--host-key {fingerprint}");
    assert!(error.to_string().contains(&wanted), "{error}");

    let person = Trusting::default();
    let connected = client.connect(address, &person).await.unwrap();
    assert_eq!(connected.connection.peer().fingerprint(), fingerprint);
    client.connect(address, &person).await.unwrap();
    assert_eq!(person.0.load(Ordering::Relaxed), 1);

    let host = HostName::new(&address.ip().to_string(), address.port());
    fs::remove_file(client.known_hosts()).unwrap();
    let other = identity::ephemeral().public_key();
    KnownHosts::new(client.known_hosts())
        .add(&host, &other)
        .unwrap();
    let error = client.connect(address, &person).await.unwrap_err();
    assert!(error.to_string().contains("HAS CHANGED"), "{error}");
    assert_eq!(person.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn client_whose_key_is_not_listed_is_turned_away_until_it_is() {
    let client = Client::new();
    let keys = authorized(client.dir.path(), &identity::ephemeral());
    let (_server, address) = serve(identity::ephemeral(), keys);

    // The client finishes its side of the handshake first and hears of the refusal right after.
    let error = match client.connect(address, &Trusting::default()).await {
        Ok(connected) => connected.connection.closed().await.to_string(),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("does not let our key in"), "{error}");

    authorized(client.dir.path(), &client.identity);
    let connected = client.connect(address, &Nobody).await.unwrap();
    assert!(connected.connection.open_bi().await.is_ok());
}
