//! The real `rpclient` with a server that is late, dies or comes back.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod world;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream, UdpSocket},
};

use world::{Running, World, socks5, target, web};

/// The answer to a GET through the proxy port.
fn fetch(proxy: &str, web: SocketAddr) -> String {
    let mut tcp = TcpStream::connect(proxy).unwrap();
    let request = format!("GET http://{web}/ HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_first_request_after_a_restart_of_the_server_is_served() {
    // A crash says nothing to anybody: the new server's word to a packet it cannot read does.
    for crashes in [false, true] {
        let mut world = World::new();
        let web = web(b"again");
        let (_client, proxy) = world.proxy();
        assert!(fetch(&proxy, web).ends_with("again"));
        if crashes {
            world.server.kill();
        } else {
            world.server.terminate();
            assert!(world.server.child.wait().unwrap().success());
        }
        world.start_server();
        let answer = fetch(&proxy, web);
        assert!(answer.ends_with("again"), "crashes: {crashes}, {answer}");
    }
}

#[test]
fn another_server_takes_over_when_the_one_in_use_is_killed() {
    let world = World::new();
    let web = web(b"again");
    let (mut first, address, key) = world.another_server();
    let control = world.path("control");
    let mut client = Running::start(world.client(&[
        "--server",
        &address,
        "--host-key",
        &key,
        "--control",
        control.to_str().unwrap(),
    ]));
    assert_eq!(client.said("connected to "), address);
    let proxy = client.said("listening on ");
    let endless = target(|mut tcp| {
        std::thread::spawn(move || while tcp.write_all(&[b'x'; 4096]).is_ok() {});
    });
    // Load that lasts until the server is gone, and which must not hang then.
    let load: Vec<_> = (0..8)
        .map(|_| {
            let mut tcp = socks5(&proxy, endless);
            tcp.read_exact(&mut [0; 100_000]).unwrap();
            std::thread::spawn(move || tcp.read_to_end(&mut Vec::new()))
        })
        .collect();
    first.kill();
    let killed = std::time::Instant::now();
    assert!(fetch(&proxy, web).ends_with("again"));
    println!("recovered after {:?}", killed.elapsed());
    let mut status = world::program("rpclient", &world.folder);
    status.args(["status", "--json", "--control"]).arg(&control);
    let status: serde_json::Value =
        serde_json::from_slice(&status.output().unwrap().stdout).unwrap();
    let servers = status["servers"].as_array().unwrap();
    let used = |at: usize| {
        (
            servers[at]["server"].as_str(),
            servers[at]["is-used"].as_bool(),
        )
    };
    assert_eq!(used(0), (Some(&address[..]), Some(false)));
    assert_eq!(used(1), (Some(&world.address[..]), Some(true)));
    // What ran over the lost connection is cut, and does not hang.
    for load in load {
        assert!(load.join().unwrap().is_err());
    }
}

#[test]
fn a_client_that_starts_before_its_server_serves_once_that_is_there() {
    let mut world = World::new();
    let web = web(b"at last");
    world.server.kill();
    // The port is taken, and nobody answers on it.
    let silent = UdpSocket::bind(&world.address).unwrap();
    let (_client, proxy) = world.proxy();
    drop(silent);
    world.start_server();
    assert!(fetch(&proxy, web).ends_with("at last"));
}

#[test]
fn a_client_that_started_early_still_ends_when_its_key_is_refused() {
    let mut world = World::new();
    world.server.kill();
    let silent = UdpSocket::bind(&world.address).unwrap();
    let mut client = Running::start(world.client(&[]));
    client.said("listening on ");
    std::fs::write(world.path("authorized_keys"), "").unwrap();
    drop(silent);
    world.start_server();
    assert_eq!(client.child.wait().unwrap().code(), Some(3));
    let mut text = String::new();
    let mut stderr = client.child.stderr.take().unwrap();
    stderr.read_to_string(&mut text).unwrap();
    assert!(text.contains("authorized_keys"), "{text}");
}
