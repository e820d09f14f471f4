//! What `rpcp` says besides its progress.

use std::io::{self, Write as _};

use rp_transfer::{
    batch::{Failure, Outcome},
    error::printable,
    path::printable_path,
};

use super::manifest;
use crate::{
    args::copy::CopyArgs,
    progress::json::{self, Event, Out},
    run,
};

/// To whom things are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// People.
    People {
        /// Whether a file goes to standard output.
        output_is_taken: bool,
    },
    /// A program.
    Program(Out),
}

impl Voice {
    pub(super) fn of(args: &CopyArgs) -> Self {
        let output_is_taken = args.locations.last().is_some_and(|target| target == "-");
        match (args.json, output_is_taken) {
            (false, output_is_taken) => Self::People { output_is_taken },
            (true, true) => Self::Program(Out::Error),
            (true, false) => Self::Program(Out::Output),
        }
    }

    /// Where objects go, if any do.
    pub(super) fn program(self) -> Option<Out> {
        match self {
            Self::People { .. } => None,
            Self::Program(out) => Some(out),
        }
    }

    /// Says what a dry run would do: copy, or delete.
    pub(super) fn plan(self, deletes: bool, path: &[u8]) {
        match (self, deletes) {
            (Self::People { .. }, false) => run::say(&printable_path(path)),
            (Self::People { .. }, true) => run::say(&format!("deleting {}", printable_path(path))),
            (Self::Program(out), _) => out.tell(&Event::Plan {
                action: if deletes { "delete" } else { "copy" },
                path: String::from_utf8_lossy(path).into_owned(),
            }),
        }
    }

    /// Says what was not copied, one line each, but for the first that were `told`.
    pub(super) fn outcome(self, outcome: &Outcome, told: usize) {
        self.failures(outcome.failures.get(told..).unwrap_or_default());
        outcome.notes.iter().for_each(|note| self.warn(note));
    }

    /// Says what failed.
    pub(super) fn failures(self, failures: &[Failure]) {
        match self {
            Self::People { .. } => list_failures(failures),
            Self::Program(out) => failures
                .iter()
                .for_each(|failure| out.tell(&json::error(failure))),
        }
    }

    /// Says what a file system could not do for a file that was copied.
    pub(super) fn warn(self, note: &str) {
        match (self, note) {
            (_, "") => {}
            (Self::People { .. }, note) => {
                let note = printable(note.as_bytes());
                let _ = writeln!(io::stderr(), "rpcp: warning: {note}");
            }
            (Self::Program(out), note) => out.tell(&Event::Warning {
                text: note.to_owned(),
            }),
        }
    }

    /// Says a digest: to people in the format of `b3sum`, away from the file itself.
    pub(super) fn digest(self, digest: &[u8; 32], name: &[u8]) {
        match self {
            Self::People { output_is_taken } => {
                let line = manifest::line(digest, printable_path(name).as_bytes());
                // A closed pipe is the reader's choice.
                let _ = match output_is_taken {
                    true => io::stderr().write_all(line.as_bytes()),
                    false => io::stdout().write_all(line.as_bytes()),
                };
            }
            Self::Program(out) => out.tell(&Event::Digest {
                path: String::from_utf8_lossy(name).into_owned(),
                blake3: hex(digest),
            }),
        }
    }
}

/// Says what failed, one line each.
pub(super) fn list_failures(failures: &[Failure]) {
    let mut err = io::stderr().lock();
    for failure in failures {
        // Without a standard error there is nobody to tell but the caller.
        let _ = writeln!(err, "rpcp: {}", described(failure));
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

/// 64 digits.
pub(super) fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
