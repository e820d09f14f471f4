//! What `rpcp` says besides its progress.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use rp_protocol::{Connection, Endpoint, units::Bandwidth};
use rp_transfer::{
    batch::{Failure, Outcome},
    error::printable,
    path::printable_path,
    session::{Progress, Summary},
};

/// Says what was not copied, one line each.
pub(super) fn list_failures(outcome: &Outcome) {
    let mut err = io::stderr().lock();
    for failure in &outcome.failures {
        // Without a standard error there is nobody to tell but the caller.
        let _ = writeln!(err, "rpcp: {}", described(failure));
    }
    for note in &outcome.notes {
        let _ = writeln!(err, "rpcp: warning: {}", printable(note.as_bytes()));
    }
}

/// Most reasons begin with the path already.
fn described(failure: &Failure) -> String {
    let path = printable_path(&failure.path);
    let why = rp_transfer::error::Error::Peer(failure.why.clone()).reason();
    match why.contains(&path) {
        true => why,
        false => format!("{path}: {why}"),
    }
}

/// Says what a file system could not do for a file that was copied.
pub(super) fn warn(note: &str) {
    if !note.is_empty() {
        let note = printable(note.as_bytes());
        let _ = writeln!(io::stderr(), "rpcp: warning: {note}");
    }
}

/// The digest in the format of `b3sum`, away from the file itself.
pub(super) fn print_digest(summary: &Summary, name: &str, to_stderr: bool) {
    let digest = blake3_hex(&summary.digest);
    let line = format!("{digest}  {name}\n");
    // A closed pipe is the reader's choice.
    let _ = match to_stderr {
        true => io::stderr().write_all(line.as_bytes()),
        false => io::stdout().write_all(line.as_bytes()),
    };
}

fn blake3_hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn print_stats(
    progress: &Progress,
    elapsed: Duration,
    endpoint: &Endpoint,
    connection: &Connection,
) {
    let bytes = progress.bytes();
    let seconds = elapsed.as_secs_f64();
    let rate = Bandwidth::from_delivery(bytes, elapsed).unwrap_or_default();
    let socket = endpoint.stats();
    let per = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let mut text = format!(
        "{bytes} bytes in {seconds:.3} s, {rate}\n\
         sent {} datagrams, {:.1} a call; received {}, {:.1} a buffer, {:.1} buffers a call\n",
        socket.sent_datagrams,
        per(socket.sent_datagrams, socket.send_calls),
        socket.received_datagrams,
        per(socket.received_datagrams, socket.receive_batches),
        per(socket.receive_batches, socket.receive_calls),
    );
    if progress.there() > 0 {
        text += &format!(
            "{} bytes were there from an interrupted copy\n",
            progress.there()
        );
    }
    for path in &connection.stats().paths {
        text += &format!(
            "{}: rtt {:.1} ms, smallest {:.1} ms; {} packets sent, {} lost, {} of them by mistake\n",
            path.remote,
            path.rtt.as_secs_f64() * 1e3,
            path.min_rtt.as_secs_f64() * 1e3,
            path.sent_packets,
            path.lost_packets,
            path.spurious_losses,
        );
    }
    let _ = io::stderr().write_all(text.as_bytes());
}
