//! The real `rpserver` against clients that take all they can: each gets its share, and an honest client
//! is served meanwhile.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside of test functions fail the test that calls them"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rp_cli::{
    connect::{Connector, Family, Server, Trust},
    copy::service,
    identity, openssh,
    prompt::Nobody,
};
use rp_protocol::config::TransportConfig;
use tempfile::TempDir;
use tokio::time::timeout;

/// Longest any step of a test may take before the test fails instead of hanging.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// A server, and the keys it knows.
struct World {
    folder: TempDir,
    child: Child,
    server: Server,
    fingerprint: String,
}

impl World {
    /// A server that lists the keys `greedy` and `honest`, with these options besides.
    fn new(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = ["greedy", "honest"]
            .map(|name| {
                let path = folder.path().join(name);
                let key = identity::load_or_make_host_key(&path, &Nobody).unwrap();
                openssh::format_key(&key.identity.public_key()) + "\n"
            })
            .concat();
        fs::write(folder.path().join("authorized_keys"), lines).unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_rpserver"))
            .env_clear()
            .env("HOME", folder.path())
            .args(["--listen", "127.0.0.1:0", "--allow", "127.0.0.0/8"])
            .arg("--key")
            .arg(folder.path().join("host_key"))
            .arg("--authorized-keys")
            .arg(folder.path().join("authorized_keys"))
            .arg("--root")
            .arg(folder.path().join("root"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = |label: &str| loop {
            let line = lines.next().unwrap_or_else(|| panic!("{label} is said"));
            if let Some(rest) = line.unwrap().strip_prefix(label) {
                return rest.split(' ').next().unwrap().to_owned();
            }
        };
        let fingerprint = said("host key ");
        let server = said("listening on ").parse().unwrap();
        Self {
            folder,
            child,
            server,
            fingerprint,
        }
    }

    fn root(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// Connects as whoever has the key `name`.
    fn connector(&self, name: &str) -> Connector {
        let trust = Trust {
            identity: Some(self.folder.path().join(name)),
            host_key: Some(self.fingerprint.parse().unwrap()),
            known_hosts: None,
        };
        Connector::new(self.server.clone(), Family::Any, &trust, &Nobody).unwrap()
    }

    /// Runs `rpcp` with the key `name`: its exit code and what it printed on standard error.
    async fn rpcp(&self, name: &str, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .args(["-q", "--no-path-memory", "-i", name])
            .args(["--host-key", &self.fingerprint])
            .args(args)
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = timeout(STEP_TIMEOUT, output).await;
        let output = output.expect("rpcp ends in time").unwrap().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    }

    fn url(&self, path: &str) -> String {
        format!("rp://{}/{path}", self.server)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_key_with_all_its_connections_is_told_so_and_another_is_served() {
    let world = World::new(&["--max-connections-per-key", "3"]);
    fs::write(world.root("file"), "text").unwrap();
    let greedy = world.connector("greedy");
    let mut held = Vec::new();
    for _ in 0..3 {
        let transport = TransportConfig::default();
        let connected = greedy.again(service::SERVICE, transport).await.unwrap();
        let (mut send, recv) = connected.connection.open_bi().await.unwrap();
        send.write_bytes(bytes::Bytes::from_static(&[0; 1]))
            .await
            .unwrap();
        held.push((connected, send, recv));
    }
    let (code, text) = world.rpcp("greedy", &[&world.url("file"), "got"]).await;
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("too many connections with this key"),
        "{text}"
    );
    assert!(text.contains("--max-connections"), "{text}");
    let (code, text) = world.rpcp("honest", &[&world.url("file"), "got"]).await;
    assert_eq!(code, Some(0), "{text}");
    // Whoever leaves makes space.
    let left = held.pop().unwrap().0;
    left.connection.close(0u32.into(), b"");
    left.endpoint.wait_idle().await;
    let (code, text) = world.rpcp("greedy", &[&world.url("file"), "got"]).await;
    assert_eq!(code, Some(0), "{text}");
}
