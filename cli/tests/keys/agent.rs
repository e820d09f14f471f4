//! A user whose key only `ssh-agent` has.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::Command,
    thread,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rp_cli::openssh;
use rp_protocol::crypto::identity::PublicKey;

use super::World;

const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

fn take_string(from: &mut &[u8]) -> Vec<u8> {
    let (length, rest) = from.split_first_chunk::<4>().unwrap();
    let (string, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    *from = rest;
    string.to_vec()
}

/// Answers one question with the key it has; signs if it `may`.
fn answer(stream: &mut UnixStream, pair: &Ed25519KeyPair, may: bool) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut request = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut request).unwrap();
    let public = string(pair.public_key().as_ref());
    let blob = [string(b"ssh-ed25519"), public].concat();
    let answer = match request[0] {
        REQUEST_IDENTITIES => {
            let key = [string(&blob), string(b"ada@home")].concat();
            [&[12, 0, 0, 0, 1][..], &key].concat()
        }
        SIGN_REQUEST if may => {
            let mut rest = &request[1..];
            assert_eq!(take_string(&mut rest), blob);
            let message = take_string(&mut rest);
            let signature = string(pair.sign(&message).as_ref());
            let signature = [string(b"ssh-ed25519"), signature].concat();
            [&[14][..], &string(&signature)].concat()
        }
        _ => vec![5],
    };
    stream.write_all(&string(&answer)).unwrap();
}

/// An agent at `socket`, and the key it has.
fn agent(socket: &Path, may: bool) -> PublicKey {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = PublicKey::from_bytes(pair.public_key().as_ref().try_into().unwrap());
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&mut stream.unwrap(), &pair, may);
        }
    });
    public
}

fn rpcp(world: &World, socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
    command.current_dir(world.path(""));
    command.env("HOME", world.path("root"));
    command.env("SSH_AUTH_SOCK", socket);
    command.args(["--host-key", &world.fingerprint, "--no-path-memory", "-q"]);
    command.args(["file", &world.url("copied")]);
    command
}

#[test]
fn key_that_only_the_agent_has_lets_rpcp_in() {
    let world = World::new();
    fs::write(world.path("file"), "content").unwrap();
    let socket = world.path("agent");
    let key = agent(&socket, true);
    world.list(&openssh::format_key(&key));
    assert!(rpcp(&world, &socket).status().unwrap().success());
    assert_eq!(fs::read(world.path("root/copied")).unwrap(), b"content");
}

#[test]
fn agent_that_does_not_sign_is_named() {
    let world = World::new();
    fs::write(world.path("file"), "content").unwrap();
    let socket = world.path("agent");
    let key = agent(&socket, false);
    world.list(&openssh::format_key(&key));
    let output = rpcp(&world, &socket).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("ssh-agent refuses to sign"), "{said}");
}
