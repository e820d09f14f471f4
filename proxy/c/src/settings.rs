//! What a client or server is told in JSON, understood and checked. Starting it is `running`'s.

use std::{collections::HashSet, net::SocketAddr, path::PathBuf, str::FromStr};

use rp_protocol::crypto::identity::Identity;
use rp_proxy::exit::policy::{Policy, Rule};
use serde::{Deserialize, de::DeserializeOwned};
use ssh_key::PrivateKey;
use tracing::Level;
use zeroize::Zeroizing;

use crate::running::StartError;

/// Whom a client connects to and where it listens.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) server: SocketAddr,
    pub(crate) host_key: String,
    pub(crate) identity: Identity,
    pub(crate) listen: SocketAddr,
    pub(crate) log: Level,
}

/// Whom a server lets in and what it dials.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) listen: SocketAddr,
    pub(crate) identity: Identity,
    pub(crate) authorized_keys: HashSet<String>,
    pub(crate) policy: Policy,
    pub(crate) log: Level,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ClientJson {
    server: String,
    host_key: String,
    identity: PathBuf,
    #[serde(default = "client_listen")]
    listen: String,
    #[serde(default = "info")]
    log: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ServerJson {
    #[serde(default = "server_listen")]
    listen: String,
    identity: PathBuf,
    authorized_keys: HashSet<String>,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
    #[serde(default = "info")]
    log: String,
}

fn client_listen() -> String {
    "127.0.0.1:1080".to_owned()
}

fn server_listen() -> String {
    "0.0.0.0:7377".to_owned()
}

fn info() -> String {
    "info".to_owned()
}

/// Understands the settings of a client.
pub(crate) fn client(json: &str) -> Result<Client, StartError> {
    let json: ClientJson = read(json)?;
    fingerprint("host-key", &json.host_key)?;
    Ok(Client {
        server: parse("server", &json.server)?,
        identity: identity(&json.identity)?,
        listen: parse("listen", &json.listen)?,
        log: parse("log", &json.log)?,
        host_key: json.host_key,
    })
}

/// Understands the settings of a server.
pub(crate) fn server(json: &str) -> Result<Server, StartError> {
    let json: ServerJson = read(json)?;
    for key in &json.authorized_keys {
        fingerprint("authorized-keys", key)?;
    }
    let mut policy = Policy::default();
    for rule in &json.allow {
        policy = policy.allow(parse::<Rule>("allow", rule)?);
    }
    for rule in &json.deny {
        policy = policy.deny(parse::<Rule>("deny", rule)?);
    }
    Ok(Server {
        listen: parse("listen", &json.listen)?,
        identity: identity(&json.identity)?,
        authorized_keys: json.authorized_keys,
        policy,
        log: parse("log", &json.log)?,
    })
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, StartError> {
    serde_json::from_str(json).map_err(|error| StartError::Settings(error.to_string()))
}

fn parse<T>(key: &str, text: &str) -> Result<T, StartError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    text.parse()
        .map_err(|error| StartError::Settings(format!("{key} {text:?}: {error}")))
}

fn fingerprint(key: &str, text: &str) -> Result<(), StartError> {
    parse::<ssh_key::Fingerprint>(key, text).map(|_| ())
}

/// The key pair in the file.
fn identity(path: &PathBuf) -> Result<Identity, StartError> {
    let wrong = |what: &dyn std::fmt::Display| {
        StartError::Settings(format!("identity {}: {what}", path.display()))
    };
    let text = std::fs::read(path).map(Zeroizing::new);
    let text = text.map_err(|error| wrong(&error))?;
    let key = PrivateKey::from_openssh(&text[..]).map_err(|error| wrong(&error))?;
    if key.is_encrypted() {
        return Err(wrong(&"the key is encrypted; give one that is not"));
    }
    let pair = key.key_data().ed25519();
    let pair = pair.ok_or_else(|| wrong(&"not an Ed25519 key"))?;
    let seed = Zeroizing::new(pair.private.to_bytes());
    Ok(Identity::from_seed(&seed))
}
