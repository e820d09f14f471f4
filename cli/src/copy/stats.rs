//! What a copy took: `--stats`, and the summary of `--json`.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use rp_protocol::{Connection, Endpoint, units::Bandwidth};
use rp_transfer::session::Progress;

use crate::progress::json::{Summary, bits_per_second, milliseconds};

/// The numbers of one copy, but for how it ended.
pub(super) fn summary(
    progress: &Progress,
    elapsed: Duration,
    connection: &Connection,
    disk_wait: Duration,
) -> Summary {
    let bytes = progress.bytes();
    let stats = connection.stats();
    let sum = |of: fn(&rp_protocol::stats::PathStats) -> u64| stats.paths.iter().map(of).sum();
    let first = stats.paths.first();
    Summary {
        files: progress.files().0,
        bytes,
        there_bytes: progress.there(),
        older_bytes: progress.older(),
        seconds: milliseconds(elapsed) / 1e3,
        bits_per_second: bits_per_second(bytes, elapsed),
        wire_sent_bytes: sum(|path| path.sent_bytes),
        wire_received_bytes: sum(|path| path.received_bytes),
        sent_packets: sum(|path| path.sent_packets),
        lost_packets: sum(|path| path.lost_packets),
        rtt_ms: first.map_or(0.0, |path| milliseconds(path.rtt)),
        min_rtt_ms: first.map_or(0.0, |path| milliseconds(path.min_rtt)),
        queue_ms: first.map_or(0.0, |path| milliseconds(path.queue_delay)),
        disk_wait_seconds: milliseconds(disk_wait) / 1e3,
        ..Summary::default()
    }
}

/// Prints the numbers as a table.
pub(super) fn print(summary: &Summary, endpoint: &Endpoint, connection: &Connection) {
    let per = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let socket = endpoint.stats();
    let rate = Bandwidth::from_bits_per_second(summary.bits_per_second);
    let mut text = format!(
        "duration      {:.3} s\n\
         goodput       {rate}, {} bytes in {} files\n\
         on the wire   {} bytes sent, {} received\n\
         retransmits   {} of {} packets, {:.2} %\n\
         disk wait     {:.3} s, all requests together\n\
         datagrams     {} sent, {:.1} a call; {} received, {:.1} a buffer, {:.1} buffers a call\n",
        summary.seconds,
        summary.bytes,
        summary.files,
        summary.wire_sent_bytes,
        summary.wire_received_bytes,
        summary.lost_packets,
        summary.sent_packets,
        per(summary.lost_packets, summary.sent_packets) * 100.0,
        summary.disk_wait_seconds,
        socket.sent_datagrams,
        per(socket.sent_datagrams, socket.send_calls),
        socket.received_datagrams,
        per(socket.received_datagrams, socket.receive_batches),
        per(socket.receive_batches, socket.receive_calls),
    );
    for path in &connection.stats().paths {
        text += &format!(
            "path          {}\n\
             RTT           {:.1} ms, smallest {:.1} ms\n\
             loss          {:.2} % not by congestion; {} packets held for lost arrived\n\
             queue         {:.1} ms\n",
            path.remote,
            milliseconds(path.rtt),
            milliseconds(path.min_rtt),
            path.random_loss * 100.0,
            path.spurious_losses,
            milliseconds(path.queue_delay),
        );
    }
    if summary.older_bytes > 0 {
        text += &format!(
            "{} bytes were taken from older files\n",
            summary.older_bytes
        );
    }
    if summary.there_bytes > 0 {
        text += &format!(
            "{} bytes were there from an interrupted copy\n",
            summary.there_bytes
        );
    }
    // Without a standard error there is nobody to tell.
    let _ = io::stderr().write_all(text.as_bytes());
}
