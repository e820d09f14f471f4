//! The real `rpserver` and what it grants to the keys on its list.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod agent;
mod rates;
mod revocation;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use rp_cli::{
    connect::{Connected, Family, Server, Trust, connect},
    identity, openssh,
    prompt::Nobody,
};
use rp_protocol::config::TransportConfig;
use tempfile::TempDir;

/// A real `rpserver` with one key on its list.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) line: String,
    address: SocketAddr,
    pub(crate) fingerprint: String,
    server: Child,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With `options` before the key.
    pub(crate) fn with(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key = identity::load_or_make_host_key(&path("id"), &Nobody).unwrap();
        let line = openssh::format_key(&key.identity.public_key());
        fs::write(path("authorized_keys"), format!("{options}{line}\n")).unwrap();
        fs::create_dir(path("root")).unwrap();
        let mut server = Command::new(env!("CARGO_BIN_EXE_rpserver"));
        server.args(["--listen", "127.0.0.1:0", "--allow", "127.0.0.0/8"]);
        server.arg("--key").arg(path("host_key"));
        server.arg("--root").arg(path("root"));
        server.arg("--authorized-keys").arg(path("authorized_keys"));
        let mut server = server.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let mut said = |label: &str| loop {
            let line = lines.next().unwrap().unwrap();
            if let Some(rest) = line.strip_prefix(label) {
                break rest.split(' ').next().unwrap().to_owned();
            }
        };
        Self {
            fingerprint: said("host key "),
            address: said("listening on ").parse().unwrap(),
            folder,
            line,
            server,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the list as an editor does.
    pub(crate) fn list(&self, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path("authorized_keys")).unwrap();
    }

    pub(crate) async fn connect(&self) -> Connected {
        let server = Server {
            host: self.address.ip().to_string(),
            port: self.address.port(),
        };
        let trust = Trust {
            identity: Some(self.path("id")),
            host_key: Some(self.fingerprint.parse().unwrap()),
            known_hosts: None,
        };
        let transport = TransportConfig::default();
        let service = rp_proxy::SERVICE;
        connect(&server, Family::Any, &trust, service, transport, &Nobody)
            .await
            .unwrap()
    }

    /// `rpcp` as the user.
    pub(crate) fn rpcp(&self, from: &str, to: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
        command.current_dir(self.folder.path()).arg("-q");
        command.arg("-i").arg(self.path("id"));
        command.args(["--host-key", &self.fingerprint, "--no-path-memory"]);
        command.args([from, to]);
        command
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rp://{}/{path}", self.address)
    }
}
