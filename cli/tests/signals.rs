//! What the real programs do when they are told to end, or to read their settings again.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod world;

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    thread,
    time::Duration,
};

use world::{Running, World, ends_with, socks5, target, web};

/// Longest a program takes to hear of the other's end; that it has fallen silent it finds out after 15 s or more.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// A target that sends back what it gets.
fn echo() -> SocketAddr {
    target(|mut tcp| {
        thread::spawn(move || {
            let mut from = tcp.try_clone().unwrap();
            let _ = std::io::copy(&mut from, &mut tcp);
        });
    })
}

fn echoes(tcp: &mut TcpStream, word: &[u8]) {
    tcp.write_all(word).unwrap();
    let mut back = vec![0; word.len()];
    tcp.read_exact(&mut back).unwrap();
    assert_eq!(back, word);
}

#[test]
fn a_server_told_to_end_takes_nobody_new_and_lets_streams_end() {
    let mut world = World::serving(&["--allow", "127.0.0.0/8", "--drain", "600"]);
    let (_client, proxy) = world.proxy();
    let mut tcp = socks5(&proxy, echo());
    echoes(&mut tcp, b"before");
    world.server.terminate();
    world
        .server
        .logged("ending when what is under way has ended");
    echoes(&mut tcp, b"after");
    // By a connection of its own and not that of the client that runs.
    let text = ends_with(
        world.client(&["--control", "off", "connect", "127.0.0.1", "9"]),
        3,
    );
    assert!(text.contains("refused"), "{text}");
    drop(tcp);
    assert!(world.server.child.wait().unwrap().success());
}

#[test]
fn a_client_told_to_end_takes_nobody_new_and_lets_streams_end() {
    let world = World::new();
    let mut client = Running::start(world.client(&["--drain", "600"]));
    let proxy = client.said("listening on ");
    let mut tcp = socks5(&proxy, echo());
    client.terminate();
    client.logged("ending when what is under way has ended");
    echoes(&mut tcp, b"after");
    assert!(TcpStream::connect(&proxy).is_err());
    drop(tcp);
    assert!(client.child.wait().unwrap().success());
}

#[test]
fn a_second_signal_ends_at_once_and_so_does_the_end_of_the_drain() {
    for (drain, second) in [("600", Some("-TERM")), ("600", Some("-INT")), ("0", None)] {
        let mut world = World::serving(&["--allow", "127.0.0.0/8", "--drain", drain]);
        let (_client, proxy) = world.proxy();
        let mut tcp = socks5(&proxy, echo());
        world.server.terminate();
        world
            .server
            .logged("ending when what is under way has ended");
        if let Some(second) = second {
            world.server.signal(second);
        }
        assert!(world.server.child.wait().unwrap().success());
        // Told, not found out by silence.
        tcp.set_read_timeout(Some(TOLD_WITHIN)).unwrap();
        let error = tcp.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_hang_up_applies_rules_without_dropping_streams() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("s.toml");
    let write = |text: &str| fs::write(&config, text).unwrap();
    write("allow = ['127.0.0.0/8']\n");
    let mut world = World::serving(&["--config", config.to_str().unwrap()]);
    let (_client, proxy) = world.proxy();
    let mut tcp = socks5(&proxy, echo());
    let web = web(b"page");
    let port = web.port().to_string();
    write("deny = ['127.0.0.0/8']\nmax-targets = 5\n");
    world.server.signal("-HUP");
    let line = world.server.logged("settings read again");
    assert!(line.contains("allow, deny"), "{line}");
    let line = world.server.logged("only a restart");
    assert!(line.contains("max-targets"), "{line}");
    let text = ends_with(world.client(&["connect", "127.0.0.1", &port]), 1);
    assert!(text.contains("denied by rule"), "{text}");
    // A mistake leaves things as they are.
    write("alow = ['127.0.0.0/8']\n");
    world.server.signal("-HUP");
    let line = world.server.logged("settings stay as they are");
    assert!(line.contains("s.toml line 1"), "{line}");
    assert!(line.contains("did you mean `allow`?"), "{line}");
    let text = ends_with(world.client(&["connect", "127.0.0.1", &port]), 1);
    assert!(text.contains("denied by rule"), "{text}");
    echoes(&mut tcp, b"all along");
}

#[test]
fn a_hang_up_takes_up_the_users_of_the_proxy() {
    let world = World::new();
    let users = world.path("users");
    fs::write(&users, "alice:sesame\n").unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
    let mut client = Running::start(world.client(&["--proxy-users", users.to_str().unwrap()]));
    let proxy = client.said("listening on ");
    let web = web(b"page");
    let get = |login: &str| {
        let mut tcp = TcpStream::connect(&proxy).unwrap();
        let head =
            format!("GET http://{web}/ HTTP/1.0\r\nProxy-Authorization: Basic {login}\r\n\r\n");
        tcp.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    };
    // alice:sesame and bob:door
    let (alice, bob) = ("YWxpY2U6c2VzYW1l", "Ym9iOmRvb3I=");
    assert!(get(alice).ends_with("page"));
    assert!(get(bob).contains(" 407 "));
    fs::write(&users, "bob:door\n").unwrap();
    client.signal("-HUP");
    client.logged("settings read again");
    assert!(get(alice).contains(" 407 "));
    assert!(get(bob).ends_with("page"));
}
