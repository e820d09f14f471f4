//! The short forms of addresses, in the real programs.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers outside of test functions fail the test that calls them"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use rp_cli::{identity, openssh, prompt::Nobody};

/// A program that runs until it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `program` and waits for a line that begins with each of `labels`; what stands behind them.
fn start<const N: usize>(program: &mut Command, labels: [&str; N]) -> (Running, [String; N]) {
    let piped = program.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(piped.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let said = labels.map(|label| {
        let found = lines.by_ref().find_map(|line| {
            let line = line.ok()?;
            line.strip_prefix(label).map(|rest| rest.trim().to_owned())
        });
        found.unwrap_or_else(|| {
            let mut errors = String::new();
            let stderr = running.0.stderr.as_mut().unwrap();
            stderr.read_to_string(&mut errors).unwrap();
            panic!("never said {label}: {errors}")
        })
    });
    (running, said)
}

fn server(folder: &Path, listen: &str) -> (Running, [String; 2]) {
    let key = identity::load_or_make_host_key(&folder.join("id"), &Nobody).unwrap();
    let line = openssh::format_key(&key.identity.public_key());
    fs::write(folder.join("authorized_keys"), line + "\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rpserver"));
    command.args(["--listen", listen]);
    command.arg("--key").arg(folder.join("host_key"));
    command
        .arg("--authorized-keys")
        .arg(folder.join("authorized_keys"));
    start(&mut command, ["host key ", "listening on "])
}

#[test]
fn server_listens_on_all_addresses_and_client_on_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, [key, address]) = server(folder.path(), ":0");
    let (any, port) = address.rsplit_once(':').unwrap();
    assert!(["[::]", "0.0.0.0"].contains(&any), "{address}");

    let mut client = Command::new(env!("CARGO_BIN_EXE_rpclient"));
    client.args(["--server", &format!("127.0.0.1:{port}")]);
    client.args(["--host-key", key.split(' ').next().unwrap()]);
    client.arg("-i").arg(folder.path().join("id"));
    client.args(["--listen", "localhost:0", "--no-path-memory"]);
    let (_client, [listening]) = start(&mut client, ["listening on "]);
    assert!(
        listening.starts_with("127.0.0.1:") || listening.starts_with("[::1]:"),
        "{listening}"
    );
}

#[test]
fn port_alone_is_at_the_address_a_program_takes_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, [_, address]) = server(folder.path(), "0");
    assert!(address.starts_with("0.0.0.0:"), "{address}");
}
