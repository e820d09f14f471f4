//! How connections through the real programs end: what was cut never looks whole, what was said last
//! arrives.

mod world;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr},
    process::Output,
    sync::mpsc::channel,
};

use world::{World, output, reset_on_drop, socks5, target};

const LAST_WORDS: &[u8] = b"Too many authentication failures\r\n";

/// What `rpclient connect` makes of `target` when `input` is its standard input.
fn connect(world: &World, target: SocketAddr, input: &'static [u8]) -> Output {
    let port = target.port().to_string();
    output(world.client(&["connect", "127.0.0.1", &port]), input)
}

#[test]
fn connect_prints_what_came_before_a_reset_and_fails() {
    let world = World::new();
    let target = target(|mut tcp| {
        tcp.write_all(&[b'x'; 5000]).unwrap();
        // The client says when it has them.
        tcp.read_exact(&mut [0]).unwrap();
        reset_on_drop(&tcp);
    });
    let output = connect(&world, target, b"x");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout.len(), 5000);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("reset"), "{text}");
}

#[test]
fn connect_prints_the_last_words_of_a_target_that_takes_no_more() {
    let world = World::new();
    for ends_first in [false, true] {
        let target = target(move |mut tcp| {
            tcp.read_exact(&mut [0; 1000]).unwrap();
            tcp.write_all(LAST_WORDS).unwrap();
            if ends_first {
                tcp.shutdown(Shutdown::Write).unwrap();
            }
        });
        let output = connect(&world, target, &[0; 20_000_000]);
        assert_eq!(output.stdout, LAST_WORDS, "ends first: {ends_first}");
        // Without an end of its own, what the target said was cut off by its reset.
        assert_eq!(output.status.success(), ends_first);
    }
}

#[test]
fn a_download_is_reset_when_the_client_program_dies() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A relay SHOULD have the TCP connection reset if its process dies.
    let world = World::new();
    let (mut client, proxy) = world.proxy();
    let target = target(|mut tcp| {
        tcp.write_all(b"part").unwrap();
        // Goes on until the proxy is gone.
        let _ = tcp.read(&mut [0]);
    });
    let mut tcp = socks5(&proxy, target);
    tcp.read_exact(&mut [0; 4]).unwrap();
    client.kill();
    let error = tcp.read(&mut [0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn an_upload_is_reset_when_the_server_program_dies() {
    //= spec/10-proxy.md#ends
    //= type=test
    //# A relay SHOULD have the TCP connection reset if its process dies.
    let mut world = World::new();
    let (_client, proxy) = world.proxy();
    let (sender, seen) = channel();
    let target = target(move |mut tcp| {
        tcp.read_exact(&mut [0; 4]).unwrap();
        sender.send(None).unwrap();
        sender
            .send(Some(tcp.read(&mut [0]).unwrap_err().kind()))
            .unwrap();
    });
    let mut tcp = socks5(&proxy, target);
    tcp.write_all(b"part").unwrap();
    assert_eq!(seen.recv().unwrap(), None);
    world.server.kill();
    assert_eq!(seen.recv().unwrap(), Some(ErrorKind::ConnectionReset));
}
