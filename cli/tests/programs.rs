//! The real `rpserver` and `rpclient`: what they print, what they relay, how they end.

mod world;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, UdpSocket},
    process::{Command, Stdio},
    thread,
};

use rp_cli::identity;
use world::{World, ends_with, has, program, web};

/// What `rpserver --help` is to name.
const SERVER_OPTIONS: &[&str] = &[
    "--listen",
    "--key",
    "--authorized-keys",
    "--root",
    "--anonymous",
    "--read-only",
    "--once-key",
    "--allow",
    "--deny",
    "--proxy-protocol",
    "--permit-listen",
    "--rate",
    "--max-connections",
    "--max-connections-per-key",
    "--max-connections-per-network",
    "--max-anonymous",
    "--max-anonymous-per-network",
    "--max-targets",
    "--max-targets-per-key",
    "--working-timeout",
    "--control",
    "--admin",
    "--admin-token-file",
    "--memory",
    "--drain",
    "--log-level",
    "--log-format",
    "--trace",
    "--config",
    "--check",
];

/// What `rpclient --help` is to name.
const CLIENT_OPTIONS: &[&str] = &[
    "--server",
    "--server-order",
    "--host-key",
    "--known-hosts",
    "--identity",
    "--listen",
    "--transparent",
    "--tproxy",
    "--ftp-ports",
    "tproxy-setup",
    "tproxy-teardown",
    "--proxy-users",
    "--optimistic",
    "--local-forward",
    "--remote-forward",
    "--udp-reply-address",
    "--tell-source",
    "--policy",
    "--rate",
    "--control",
    "--admin",
    "--admin-token-file",
    "--memory",
    "--drain",
    "--log-level",
    "--log-format",
    "--trace",
    "--config",
    "--check",
    "connect",
    "status",
    "doctor",
];

#[test]
fn help_names_every_option() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options) in [("rpserver", SERVER_OPTIONS), ("rpclient", CLIENT_OPTIONS)] {
        let output = program(name, &folder).arg("--help").output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for option in options {
            assert!(text.contains(option), "{name} {option}: {text}");
        }
        assert!(text.contains("bits per second"), "{text}");
    }
}

#[test]
fn mistakes_end_with_2_and_name_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, args: &[&str]| {
        let mut command = program(name, &folder);
        command.args(args);
        ends_with(command, 2)
    };
    assert!(run("rpclient", &[]).contains("--server"));
    assert!(run("rpclient", &["--no-such-option"]).contains("--no-such-option"));
    assert!(run("rpclient", &["--server", "a b"]).contains("--server a b"));
    let forward = run("rpclient", &["--server", "h", "-L", "8080:x"]);
    assert!(
        forward.contains("--local-forward 8080:x: not a forward"),
        "{forward}"
    );
    let forward = run("rpclient", &["--server", "h", "-R", "99999:x:1"]);
    assert!(forward.contains("--remote-forward 99999:x:1"), "{forward}");
    let place = run("rpserver", &["--permit-listen", "a.example:80"]);
    assert!(place.contains("--permit-listen a.example:80"), "{place}");
    assert!(run("rpserver", &["--allow", "10.0.0.0/99"]).contains("--allow 10.0.0.0/99"));
    assert!(run("rpserver", &["--proxy-protocol", "h"]).contains("--proxy-protocol h"));
    assert!(run("rpserver", &["--root", "/nonexistent/x"]).contains("/nonexistent/x"));
    assert!(run("rpserver", &["--config", "/nonexistent/x"]).contains("/nonexistent/x"));
    assert!(run("rpclient", &["--server", "h", "connect", "a b", "22"]).contains("a b"));
}

#[test]
fn check_prints_flags_over_environment_over_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    fs::write(
        &file,
        "server = 'file'\nrate = '1M'\nlisten = '127.0.0.1:3'\n",
    )
    .unwrap();
    let mut command = program("rpclient", &folder);
    command.arg("--check").arg("--config").arg(&file);
    command.args(["--listen", "127.0.0.1:1"]);
    command
        .env("RPCLIENT_LISTEN", "127.0.0.1:2")
        .env("RPCLIENT_RATE", "2M");
    let output = command.output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "server = \"file\"",
        "rate = \"2M\"",
        "listen = \"127.0.0.1:1\"",
        "policy = \"fair\"",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn an_unknown_server_is_refused_without_a_terminal() {
    let world = World::new();
    let text = ends_with(world.bare_client(&[]), 3);
    assert!(
        text.contains(&format!("--host-key {}", world.fingerprint)),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn another_host_key_is_refused() {
    let world = World::new();
    let other = identity::ephemeral().public_key().fingerprint();
    let text = ends_with(world.bare_client(&["--host-key", &other]), 3);
    assert!(text.contains(&world.fingerprint), "{text}");
}

#[test]
fn an_unknown_client_key_is_told_what_to_do() {
    let world = World::new();
    fs::write(world.path("authorized_keys"), "").unwrap();
    for args in [&[][..], &["connect", "127.0.0.1", "9"]] {
        let text = ends_with(world.client(args), 3);
        assert!(text.contains("authorized_keys"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_connect_quietly() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        while tcp.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let mut command = world.client(&["connect", "127.0.0.1", &port]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut some = [0; 10];
    client.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141));
}

#[test]
fn silence_is_told_from_refusal() {
    let world = World::new();
    // Bound, so that nobody else answers, and never read.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut command = program("rpclient", &world.folder);
    command.args(["--server", &address, "--host-key", &world.fingerprint]);
    command
        .args(["--listen", "127.0.0.1:0"])
        .arg("-i")
        .arg(world.path("id"))
        .args(["connect", "127.0.0.1", "9"]);
    let text = ends_with(command, 3);
    assert!(text.contains("blocks UDP"), "{text}");
}

#[test]
fn connect_joins_standard_streams_with_a_target() {
    let world = World::new();
    let web = web(b"through");
    let port = web.port().to_string();
    let mut child = world
        .client(&["connect", "127.0.0.1", &port])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.ends_with(b"through"));
}

#[test]
fn connect_says_why_a_target_is_not_reached() {
    let world = World::new();
    let text = ends_with(world.client(&["connect", "10.1.2.3", "80"]), 1);
    assert!(
        text.contains("10.1.2.3:80: the target is not allowed: private network"),
        "{text}"
    );
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = ends_with(
        world.client(&["connect", "127.0.0.1", &free.port().to_string()]),
        1,
    );
    assert!(text.contains("connection refused"), "{text}");
}

#[test]
fn curl_fetches_by_every_door() {
    if !has("curl") {
        eprintln!("skipped: no curl");
        return;
    }
    let world = World::new();
    let web = web(b"fetched");
    let (_client, proxy) = world.proxy();
    for scheme in ["socks5h", "socks5", "socks4", "socks4a", "http"] {
        for tunnel in [false, true] {
            let mut curl = Command::new("curl");
            curl.args([
                "-sS",
                "-x",
                &format!("{scheme}://{proxy}"),
                &format!("http://{web}/"),
            ]);
            curl.env("no_proxy", "").env("NO_PROXY", "");
            if tunnel {
                curl.arg("--proxytunnel");
            }
            let output = curl.output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.stdout, b"fetched", "{scheme} {errors}");
        }
    }
}

#[test]
fn termination_is_clean() {
    let mut world = World::new();
    let (mut client, _proxy) = world.proxy();
    client.terminate();
    assert!(client.child.wait().unwrap().success());
    world.server.terminate();
    assert!(world.server.child.wait().unwrap().success());
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = program("rpclient", &world.folder);
    command.args(["--server", &world.address, "--listen", &address]);
    command
        .args(["--host-key", &world.fingerprint])
        .arg("-i")
        .arg(world.path("id"));
    let text = ends_with(command, 1);
    assert!(
        text.contains(&format!("cannot listen on tcp {address}")),
        "{text}"
    );
}
