//! Many small files in one request, so that none of them waits for a round trip. Their data stream holds for
//! each an Entry message and behind it the file's bytes (spec/20-copy.md, "Batches").

pub(crate) mod fuzz;
mod parser;
mod receiver;
mod sender;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    error::Error,
    message::{Done, Entry},
};

pub use self::{
    receiver::BatchReceiver,
    sender::{BatchSender, Item},
    store::{OpenPlaces, Store, StoreOptions, max_open_of_all},
};

/// Longest file of a batch: what a receiver holds in memory of one.
pub const MAX_FILE: u64 = 1 << 20;

/// Most entries of a batch.
pub const MAX_ENTRIES: usize = 1024;

/// What became of the entries of a batch, or of many.
#[derive(Clone, Debug, Default)]
pub struct Report(Arc<Mutex<Outcome>>);

/// What a [`Report`] holds.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What was not copied, and why.
    pub failures: Vec<Failure>,
    /// Files that are whole under their names.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What a file system could not do, and other things for people.
    pub notes: Vec<String>,
    /// BLAKE3 digests of files that were copied, where they are kept.
    pub digests: Vec<([u8; 32], Vec<u8>)>,
    keeps_digests: bool,
}

/// Something that was not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its path.
    pub path: Vec<u8>,
    /// Why.
    pub why: Done,
}

/// Most notes that are kept: they tend to be the same for every file.
const MAX_NOTES: usize = 16;

impl Report {
    fn lock(&self) -> MutexGuard<'_, Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A report that keeps the digests of files.
    pub fn keeping_digests() -> Self {
        let report = Self::default();
        report.lock().keeps_digests = true;
        report
    }

    /// An empty one that keeps what this one keeps.
    #[must_use]
    pub fn part(&self) -> Self {
        match self.lock().keeps_digests {
            true => Self::keeping_digests(),
            false => Self::default(),
        }
    }

    /// What was copied has this digest, if that is kept.
    pub fn add_digest(&self, path: &[u8], digest: [u8; 32]) {
        let mut outcome = self.lock();
        if outcome.keeps_digests {
            outcome.digests.push((digest, path.to_vec()));
        }
    }

    /// Something was not copied.
    pub fn fail(&self, path: Vec<u8>, why: Done) {
        self.lock().failures.push(Failure { path, why });
    }

    /// How many were not copied.
    pub fn failures(&self) -> usize {
        self.lock().failures.len()
    }

    /// What was not copied, but for the first ones, which are known.
    pub fn failures_from(&self, known: usize) -> Vec<Failure> {
        let outcome = self.lock();
        outcome.failures.get(known..).unwrap_or_default().to_vec()
    }

    /// A file is whole.
    pub fn add_file(&self, bytes: u64) {
        let mut outcome = self.lock();
        outcome.files += 1;
        outcome.bytes += bytes;
    }

    /// Something for people; empty if there is nothing to say.
    pub fn note(&self, note: String) {
        let mut outcome = self.lock();
        if !note.is_empty() && outcome.notes.len() < MAX_NOTES {
            outcome.notes.push(note);
        }
    }

    /// Adds what became of others.
    pub fn add(&self, other: Outcome) {
        let mut outcome = self.lock();
        outcome.failures.extend(other.failures);
        outcome.files += other.files;
        outcome.bytes += other.bytes;
        outcome.digests.extend(other.digests);
        let space = MAX_NOTES.saturating_sub(outcome.notes.len());
        outcome.notes.extend(other.notes.into_iter().take(space));
    }

    /// Takes everything that was reported so far.
    pub fn take(&self) -> Outcome {
        std::mem::take(&mut *self.lock())
    }
}

/// The entry that says why something was not copied.
fn failure(path: Vec<u8>, error: &Error) -> Entry {
    Entry::failed(path, error.to_done())
}
