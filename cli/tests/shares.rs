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
use rp_transfer::message::{Get, Message};
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

/// What the kernel says of a process under `label`.
fn status(child: &Child, label: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with(label)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_connections_that_take_nothing_of_16_files_each_cost_little() {
    let world = World::new(&[]);
    let content: Vec<_> = (0..4_000_000u32).flat_map(u32::to_le_bytes).collect();
    fs::write(world.root("file"), &content).unwrap();
    let greedy = world.connector("greedy");
    let transport = TransportConfig::default()
        .initial_stream_credit(1000)
        .max_stream_credit(1000);
    let mut get = Vec::new();
    let path = b"file".to_vec();
    let request = Get {
        path,
        ..Get::default()
    };
    Message::Get(request).encode(&mut get);
    let (mut connections, mut held) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let connected = greedy.again(service::SERVICE, transport.clone()).await;
        let connected = connected.unwrap();
        for _ in 0..16 {
            let (mut send, mut recv) = connected.connection.open_bi().await.unwrap();
            send.write_bytes(get.clone().into()).await.unwrap();
            let ready = timeout(STEP_TIMEOUT, recv.read_bytes(1000)).await;
            assert!(ready.expect("each is answered").unwrap().is_some());
            held.push((send, recv));
        }
        connections.push(connected);
    }
    let (code, text) = world.rpcp("honest", &[&world.url("file"), "got"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(fs::read(world.folder.path().join("got")).unwrap(), content);
    let (code, text) = world.rpcp("greedy", &[&world.url("file"), "got"]).await;
    assert_eq!(code, Some(0), "{text}");
    let (kilobytes, threads) = (
        status(&world.child, "VmRSS"),
        status(&world.child, "Threads"),
    );
    eprintln!("{kilobytes} kB in {threads} threads");
    assert!(kilobytes < 200 << 10, "{kilobytes} kB");
    assert!(threads < 100, "{threads} threads");
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
