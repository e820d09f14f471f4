//! Replays the seed corpora of the fuzz targets: no input may panic or break an invariant.
//! Finding new inputs is the business of `protocol/fuzz`.

use std::{
    fs,
    panic::{self, RefUnwindSafe},
    path::PathBuf,
    time::Instant,
};

use rp_protocol::fuzz;

/// Runs `target` on every file of its corpus, and says which one it failed on.
fn replay(name: &str, target: impl Fn(&[u8]) + RefUnwindSafe) {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.extend(["fuzz", "corpus", name]);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no seeds in {}", folder.display());
    for file in files {
        let seed = fs::read(&file).expect("a seed");
        let outcome = panic::catch_unwind(|| target(&seed));
        assert!(outcome.is_ok(), "failed on {}", file.display());
    }
    // What every corpus has, and what no file system keeps well.
    target(&[]);
}

#[test]
fn datagrams_do_not_panic() {
    replay("packet", fuzz::packet);
}

#[test]
fn payloads_do_not_panic() {
    replay("frame", fuzz::frame);
}

#[test]
fn disturbed_handshakes_fail_closed() {
    replay("handshake", fuzz::handshake);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "virtual time counts from some instant"
)]
fn scripts_deliver_what_was_written() {
    let epoch = Instant::now();
    replay("script", |data| fuzz::script(epoch, data));
}
