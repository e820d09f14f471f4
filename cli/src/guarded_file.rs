//! Reading of files that decide about trust: never one that others may read or change.
//! What they contain is the caller's.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use thiserror::Error;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// Longest file read: far more than any list of keys needs.
const MAX_LEN: u64 = 4 << 20;

/// What others may not do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Neither read nor write: it holds a secret.
    Secret,
    /// Not write, and it belongs to us or to root: it says whom we trust.
    Trusted,
}

/// Why a file is not used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The system's word.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its mode lets others read a secret.
    #[error("its mode {mode:04o} lets others use it; run: chmod 600")]
    Exposed {
        /// The permission bits.
        mode: u32,
    },
    /// Others can change it.
    #[error("its mode {mode:04o} lets others change it; run: chmod go-w")]
    Writable {
        /// The permission bits.
        mode: u32,
    },
    /// It belongs to another user, who can change it.
    #[error("it belongs to another user (uid {uid})")]
    Foreign {
        /// The owner.
        uid: u32,
    },
    /// Too long to be what it should be.
    #[error("it is longer than 4 MiB")]
    TooLong,
}

/// A file's bytes and what was known of it when they were read.
pub(crate) fn read(
    path: &Path,
    guard: Guard,
) -> Result<(Zeroizing<Vec<u8>>, Metadata), GuardError> {
    // The open file is asked, not its name: the name may mean another file a moment later.
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    check(&metadata, guard)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(GuardError::TooLong);
    }
    Ok((bytes, metadata))
}

fn check(metadata: &Metadata, guard: Guard) -> Result<(), GuardError> {
    let mode = metadata.mode() & 0o7777;
    match guard {
        Guard::Secret if mode & 0o077 != 0 => Err(GuardError::Exposed { mode }),
        Guard::Trusted if mode & 0o022 != 0 => Err(GuardError::Writable { mode }),
        Guard::Trusted if !is_ours(metadata.uid()) => Err(GuardError::Foreign {
            uid: metadata.uid(),
        }),
        Guard::Secret | Guard::Trusted => Ok(()),
    }
}

fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}
