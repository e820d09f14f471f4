//! A user whose key only `ssh-agent` has.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
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

/// OpenSSH's own agent.
struct OpenSshAgent(Child);

impl Drop for OpenSshAgent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl OpenSshAgent {
    /// An agent at `socket`; `None` where OpenSSH is not installed.
    fn start(socket: &Path) -> Option<Self> {
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(socket);
        let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
        // It says where it listens once it does.
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        Some(Self(child))
    }
}

/// Makes a key of that kind and leaves its private half to the agent at `socket` alone; the line of its public half.
fn give(world: &World, socket: &Path, kind: &str, name: &str) -> String {
    let file = world.path(name);
    let quiet = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let mut make = Command::new("ssh-keygen");
    quiet(make.args(["-q", "-t", kind, "-N", "", "-f"]).arg(&file));
    let mut add = Command::new("ssh-add");
    quiet(add.arg("-q").arg(&file).env("SSH_AUTH_SOCK", socket));
    fs::remove_file(&file).unwrap();
    fs::read_to_string(file.with_extension("pub")).unwrap()
}

#[test]
fn of_several_keys_in_an_agent_of_openssh_the_one_that_is_listed_lets_rpcp_in() {
    let world = World::new();
    fs::write(world.path("file"), "content").unwrap();
    let socket = world.path("agent");
    let Some(_agent) = OpenSshAgent::start(&socket) else {
        println!("SKIPPED of_several_keys_in_an_agent_of_openssh: ssh-agent is missing");
        return;
    };
    give(&world, &socket, "ecdsa", "unusable");
    let first = give(&world, &socket, "ed25519", "first");
    let second = give(&world, &socket, "ed25519", "second");
    let third = give(&world, &socket, "ed25519", "third");
    for listed in [first, second, third] {
        world.list(&listed);
        let output = rpcp(&world, &socket).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{listed}: {said}");
        assert_eq!(fs::read(world.path("root/copied")).unwrap(), b"content");
        fs::remove_file(world.path("root/copied")).unwrap();
    }
    world.list("");
    let output = rpcp(&world, &socket).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("authorized_keys"), "{said}");
}
