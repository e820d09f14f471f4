//! A copy told to a program: one JSON object a line, each with its `event`. The events stand in `cli/docs/rpcp.md`.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use rp_protocol::{Connection, units::Bandwidth};
use rp_transfer::{
    batch::Failure,
    error::Error,
    message::{Done, Status},
    session::Progress,
};
use serde::Serialize;

/// Where objects go: standard output, unless a file goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What is told.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// How far the copy is, every second.
    Progress {
        /// Bytes that were copied.
        bytes: u64,
        /// Bytes to copy, once known.
        total_bytes: Option<u64>,
        /// Files that are whole.
        files: u64,
        /// Files that are known of.
        total_files: u64,
        /// The average since the copy began.
        bits_per_second: u64,
        /// Round-trip time of the first path.
        rtt_ms: f64,
    },
    /// Something was not copied.
    Error {
        /// Its path; what is not UTF-8 in it is replaced.
        path: String,
        /// One word of `spec/20-copy.md`, "Status".
        status: &'static str,
        /// A sentence for people.
        text: String,
    },
    /// Something that is no failure.
    Warning {
        /// A sentence for people.
        text: String,
    },
    /// In a dry run: what would be copied or deleted.
    Plan {
        /// `copy` or `delete`.
        action: &'static str,
        /// Its path.
        path: String,
    },
    /// With `--checksum`: the BLAKE3 digest of a file.
    Digest {
        /// Its path.
        path: String,
        /// 64 hexadecimal digits.
        blake3: String,
    },
    /// The last one.
    Summary(Box<Summary>),
}

/// How the copy ended.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// The number the shell sees.
    pub exit_code: u8,
    /// Why it is not 0.
    pub error: Option<String>,
    /// Files that are whole.
    pub files: u64,
    /// Files and folders that failed.
    pub failed: u64,
    /// Bytes of the files that were copied.
    pub bytes: u64,
    /// Bytes of them that an interrupted copy had left there.
    pub there_bytes: u64,
    /// Bytes of them that older files at the destination had.
    pub older_bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Bytes over that time.
    pub bits_per_second: u64,
    /// UDP payload that was sent.
    pub wire_sent_bytes: u64,
    /// UDP payload that was received.
    pub wire_received_bytes: u64,
    /// Packets that were sent.
    pub sent_packets: u64,
    /// Packets that were lost, and sent again as far as they mattered.
    pub lost_packets: u64,
    /// Round-trip time, at the end.
    pub rtt_ms: f64,
    /// The smallest one.
    pub min_rtt_ms: f64,
    /// What stands in queues on the way, as a time.
    pub queue_ms: f64,
    /// How long requests waited for files to be read, written and digested.
    pub disk_wait_seconds: f64,
}

impl Out {
    /// Tells of one thing.
    pub fn tell(self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return;
        };
        line.push(b'\n');
        // A reader that has gone away wants no more.
        let _ = match self {
            Self::Output => {
                let mut out = io::stdout().lock();
                out.write_all(&line).and_then(|()| out.flush())
            }
            Self::Error => io::stderr().write_all(&line),
        };
    }

    /// Tells of what was not copied; gives back how many that were.
    pub(super) fn failures(self, failures: &[Failure]) -> usize {
        for failure in failures {
            self.tell(&error(failure));
        }
        failures.len()
    }

    pub(super) fn progress(self, progress: &Progress, elapsed: Duration, connection: &Connection) {
        let (files, total_files) = progress.files();
        let bytes = progress.bytes();
        let stats = connection.stats();
        self.tell(&Event::Progress {
            bytes,
            total_bytes: progress.size(),
            files,
            total_files,
            bits_per_second: bits_per_second(bytes, elapsed),
            rtt_ms: stats
                .paths
                .first()
                .map_or(0.0, |path| milliseconds(path.rtt)),
        });
    }
}

/// What was not copied.
pub fn error(failure: &Failure) -> Event {
    Event::Error {
        path: String::from_utf8_lossy(&failure.path).into_owned(),
        status: status(&failure.why),
        text: Error::Peer(failure.why.clone()).reason(),
    }
}

/// The word of the spec.
fn status(done: &Done) -> &'static str {
    match done.status {
        Status::Ok => "ok",
        Status::Failed => "failed",
        Status::NotFound => "not-found",
        Status::Permission => "permission",
        Status::NoSpace => "no-space",
        Status::Integrity => "integrity",
        Status::SourceChanged => "source-changed",
        Status::BadPath => "bad-path",
        Status::NotAFile => "not-a-file",
        Status::Busy => "busy",
        Status::Unsupported => "unsupported",
        Status::Interrupted => "interrupted",
        Status::Protocol => "protocol",
    }
}

/// The average over a time.
pub fn bits_per_second(bytes: u64, elapsed: Duration) -> u64 {
    let rate = Bandwidth::from_delivery(bytes, elapsed);
    rate.unwrap_or_default().bits_per_second()
}

/// A time as a number of milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    // In steps of microseconds: more would be noise.
    (time.as_secs_f64() * 1e6).round() / 1e3
}
