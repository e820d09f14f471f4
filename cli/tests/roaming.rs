//! The real programs while the client's own address changes: it gets another one on the same link, or
//! its link goes and another takes its place. In network namespaces, so as root; without, the tests say
//! that they are skipped.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests are tests too, and a skipped one says so"
)]

#[path = "roaming/hosts.rs"]
mod hosts;
mod world;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use hosts::{Hosts, Namespace};
use rp_cli::{identity, openssh, prompt::Nobody};
use tempfile::TempDir;
use world::{Running, program};

/// Bytes of a download, which takes three seconds at [`RATE`].
const DOWNLOAD: usize = 6_000_000;

const RATE: &str = "16M";

/// Most time from the moment on that the new address is there until bytes come again. The round trip,
/// which may be waited for three times more, is nothing here.
const RESUMED: Duration = Duration::from_secs(1);

/// What a changed host looks like to the programs.
type Change = fn(&Hosts);

/// A pair of programs on two hosts, and a target beside the server.
struct Pair {
    // Dropped in this order: a namespace goes last.
    _client: Running,
    _server: Running,
    front_end: SocketAddr,
    target: SocketAddr,
    hosts: Hosts,
    _folder: TempDir,
}

impl Pair {
    fn new() -> Self {
        let hosts = Hosts::new();
        let folder = tempfile::tempdir().unwrap();
        let key = identity::load_or_make_host_key(&folder.path().join("id"), &Nobody).unwrap();
        let line = openssh::format_key(&key.identity.public_key());
        std::fs::write(folder.path().join("authorized_keys"), line + "\n").unwrap();

        let mut server = hosts.server.command(&program("rpserver", &folder));
        server.args(["--listen", &format!("{}:0", Hosts::SERVER)]);
        server.arg("--key").arg(folder.path().join("host_key"));
        server.arg("--authorized-keys");
        server.arg(folder.path().join("authorized_keys"));
        server.args(["--allow", "127.0.0.0/8", "--rate", RATE]);
        let mut server = Running::start(server);
        let fingerprint = server.said("host key ");
        let fingerprint = fingerprint.split(' ').next().unwrap();
        let address = server.said("listening on ");

        let mut client = hosts.client.command(&program("rpclient", &folder));
        client.args(["--server", &address, "--host-key", fingerprint]);
        client.args(["--listen", "127.0.0.1:0", "--no-path-memory"]);
        client.arg("-i").arg(folder.path().join("id"));
        let mut client = Running::start(client);
        let front_end = client.said("listening on ").parse().unwrap();
        Self {
            target: serve(&hosts.server),
            front_end,
            _client: client,
            _server: server,
            hosts,
            _folder: folder,
        }
    }

    /// A tunnel to the target, which was asked for a service.
    fn tunnel(&self, service: u8) -> TcpStream {
        let (front_end, target) = (self.front_end.to_string(), self.target);
        let mut tcp = self
            .hosts
            .client
            .run(move || world::socks5(&front_end, target));
        tcp.write_all(&[service]).unwrap();
        tcp
    }
}

const ECHO: u8 = b'e';
const SEND: u8 = b's';

/// The target of all tunnels: says back what it is told, or sends a file.
fn serve(namespace: &Namespace) -> SocketAddr {
    let listener = namespace.run(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let mut tcp = tcp.unwrap();
            thread::spawn(move || {
                let mut service = [0];
                tcp.read_exact(&mut service).unwrap();
                if service == [SEND] {
                    let _ = tcp.write_all(&content());
                } else {
                    let mut said = [0];
                    while tcp.read_exact(&mut said).is_ok() {
                        let _ = tcp.write_all(&said);
                    }
                }
            });
        }
    });
    addr
}

/// A file no part of which is like another.
fn content() -> Vec<u8> {
    let mut content = vec![0; DOWNLOAD];
    let mut reader = blake3::Hasher::new().finalize_xof();
    reader.fill(&mut content);
    content
}

/// How long an answer takes over `tunnel`.
fn round_trip(tunnel: &mut TcpStream) -> Duration {
    let asked = Instant::now();
    tunnel.write_all(b"?").unwrap();
    let mut answer = [0];
    tunnel.read_exact(&mut answer).unwrap();
    asked.elapsed()
}

fn idle_tunnel_survives(change: Change) {
    let pair = Pair::new();
    let mut idle = pair.tunnel(ECHO);
    round_trip(&mut idle);
    change(&pair.hosts);
    let took = round_trip(&mut idle);
    assert!(took < RESUMED, "answered after {took:?}");
}

fn download_survives(change: Change) {
    let pair = Pair::new();
    let mut download = pair.tunnel(SEND);
    let mut arrived = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut read = |arrived: &mut Vec<u8>| {
        let since = Instant::now();
        let count = download.read(&mut buffer).unwrap();
        arrived.extend_from_slice(&buffer[..count]);
        (count, since.elapsed())
    };
    while arrived.len() < DOWNLOAD / 6 {
        assert_ne!(read(&mut arrived).0, 0, "ended early");
    }
    change(&pair.hosts);
    assert!(arrived.len() < DOWNLOAD / 2, "the change came too late");
    let mut longest = Duration::ZERO;
    while arrived.len() < DOWNLOAD {
        let (count, waited) = read(&mut arrived);
        assert_ne!(count, 0, "ended after {} bytes", arrived.len());
        longest = longest.max(waited);
    }
    assert_eq!(blake3::hash(&arrived), blake3::hash(&content()));
    assert!(longest < RESUMED, "silent for {longest:?}");
}

/// Says why a test that needs root proves nothing here.
fn skipped(test: &str) -> bool {
    let reason = hosts::unavailable();
    if let Some(reason) = reason {
        println!("SKIPPED {test}: {reason}");
    }
    reason.is_some()
}

#[test]
fn an_idle_tunnel_survives_another_address_of_its_client() {
    if !skipped("an_idle_tunnel_survives_another_address_of_its_client") {
        idle_tunnel_survives(Hosts::change_address);
    }
}

#[test]
fn an_idle_tunnel_survives_another_link_of_its_client() {
    if !skipped("an_idle_tunnel_survives_another_link_of_its_client") {
        idle_tunnel_survives(Hosts::change_link);
    }
}

#[test]
fn a_download_survives_another_address_of_its_client() {
    if !skipped("a_download_survives_another_address_of_its_client") {
        download_survives(Hosts::change_address);
    }
}

#[test]
fn a_download_survives_another_link_of_its_client() {
    if !skipped("a_download_survives_another_link_of_its_client") {
        download_survives(Hosts::change_link);
    }
}
