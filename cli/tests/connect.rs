//! `rpclient connect` over the connection of an `rpclient` that runs already.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod world;

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::mpsc::channel,
};

use rp_cli::identity;
use world::{Running, World, ends_with, output, program, reset_on_drop, target, web};

/// A world whose user's key is gone once its `rpclient` runs: another connection cannot be made.
fn world_with_one_connection() -> (World, Running) {
    let world = World::new();
    let (client, _) = world.proxy();
    std::fs::remove_file(world.path("id")).unwrap();
    (world, client)
}

fn connect(world: &World, target: SocketAddr) -> Command {
    world.client(&["connect", "127.0.0.1", &target.port().to_string()])
}

#[test]
fn connect_goes_over_the_running_client_that_goes_the_same_way() {
    let (world, client) = world_with_one_connection();
    let web = web(b"through");
    let request = b"GET / HTTP/1.0\r\n\r\n";
    let got = output(connect(&world, web), request);
    assert!(got.status.success(), "{got:?}");
    assert!(got.stdout.ends_with(b"through"));
    // With another way in mind it goes by itself, which lacks its key here.
    let other = identity::ephemeral().public_key().fingerprint();
    let mut command = world.bare_client(&["connect", "127.0.0.1", &web.port().to_string()]);
    command.args(["--host-key", &other]);
    ends_with(command, 3);
    let mut command = connect(&world, web);
    command.args(["--control", "off"]);
    ends_with(command, 3);
    // With none in mind any will do, and there must be one.
    let any = || {
        let mut command = program("rpclient", &world.folder);
        command.args(["connect", "127.0.0.1", &web.port().to_string()]);
        command
    };
    assert!(output(any(), request).stdout.ends_with(b"through"));
    drop(client);
    assert!(ends_with(any(), 2).contains("no server"));
}

#[test]
fn ends_are_those_of_a_connection_of_its_own() {
    let (world, _client) = world_with_one_connection();
    // The input's end reaches the target, whose answer comes back behind it.
    let echo = target(|mut tcp| {
        let mut all = Vec::new();
        tcp.read_to_end(&mut all).unwrap();
        tcp.write_all(&all).unwrap();
    });
    let input: &[u8] = &[b'i'; 1_000_000];
    let got = output(connect(&world, echo), input);
    assert!(got.status.success(), "{:?}", got.stderr);
    assert!(got.stdout == input);
    // What came before a reset is printed, and the reset is a failure.
    let cut = target(|mut tcp| {
        tcp.write_all(&[b'x'; 5000]).unwrap();
        tcp.read_exact(&mut [0]).unwrap();
        reset_on_drop(&tcp);
    });
    let got = output(connect(&world, cut), b"x");
    assert_eq!(got.status.code(), Some(1));
    assert_eq!(got.stdout.len(), 5000);
    assert!(String::from_utf8_lossy(&got.stderr).contains("reset"));
    let text = ends_with(world.client(&["connect", "10.1.2.3", "80"]), 1);
    assert!(
        text.contains("10.1.2.3:80: the target is not allowed: private network"),
        "{text}"
    );
}

#[test]
fn a_killed_connect_is_a_reset_for_the_target() {
    let (world, _client) = world_with_one_connection();
    let (sender, ended) = channel();
    let target = target(move |mut tcp| {
        tcp.write_all(b"x").unwrap();
        sender.send(tcp.read(&mut [0]).unwrap_err().kind()).unwrap();
    });
    let mut command = connect(&world, target);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    child.kill().unwrap();
    assert_eq!(ended.recv().unwrap(), std::io::ErrorKind::ConnectionReset);
    child.wait().unwrap();
}
