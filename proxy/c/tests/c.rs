//! The header is that of the library, and a C program that uses both moves data.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rp_protocol::crypto::identity::Identity;
use ssh_key::{LineEnding, PrivateKey, private::Ed25519Keypair};

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the library was built for this test.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().to_owned()
}

/// A key file in `to`, and the key's fingerprint.
fn key(to: &Path, seed: u8) -> String {
    let pair = Ed25519Keypair::from_seed(&[seed; 32]);
    let text = PrivateKey::from(pair).to_openssh(LineEnding::LF).unwrap();
    fs::write(to, text.as_bytes()).unwrap();
    Identity::from_seed(&[seed; 32]).public_key().fingerprint()
}

/// The example, compiled.
fn example(to: &Path) {
    let mut cc = Command::new("cc");
    cc.args([
        "-std=c11",
        "-D_GNU_SOURCE",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-g",
    ]);
    cc.arg(folder().join("examples/relay.c"));
    cc.arg("-I").arg(folder().join("include"));
    cc.arg("-L").arg(built()).args(["-lrpproxy", "-lpthread"]);
    cc.arg(format!("-Wl,-rpath,{}", built().display()));
    let output = cc.arg("-o").arg(to).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_header_is_that_of_the_library() {
    let config = cbindgen::Config::from_root_or_default(folder());
    let source = folder().join("src/lib.rs");
    let made = cbindgen::Builder::new()
        .with_config(config)
        .with_src(source);
    let mut header = Vec::new();
    made.generate().unwrap().write(&mut header);
    let path = folder().join("include/rpproxy.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&path, &header).unwrap();
    }
    let kept = fs::read(&path).unwrap();
    assert!(
        kept == header,
        "run this test with UPDATE_HEADER=1 and look at what changed in include/rpproxy.h"
    );
}

#[test]
fn a_c_program_moves_a_megabyte_through_both_sides_without_a_fault_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (client, server) = (key(&path("id"), 1), key(&path("host_key"), 2));
    example(&path("relay"));
    // What it does with memory is watched; what the standard library keeps to the end is no loss.
    let mut run = Command::new("valgrind");
    run.args(["-q", "--error-exitcode=9", "--fair-sched=yes"]);
    run.args(["--leak-check=full", "--errors-for-leak-kinds=definite"]);
    run.arg(path("relay"));
    run.arg(path("id"))
        .arg(path("host_key"))
        .args([client, server]);
    let output = run.output().unwrap();
    let (said, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{log}");
    assert!(said.contains("refused: missing field `server`"), "{said}");
    assert!(said.contains("client {\"active\":0"), "{said}");
    assert!(
        said.contains("\"received\":1048576,\"sent\":1048576,\"state\":\"up\""),
        "{said}"
    );
    assert!(
        said.contains("a megabyte there and back with version"),
        "{said}"
    );
}
