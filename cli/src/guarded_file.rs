//! Reading of files that decide about trust: never one that others may read or change, nor one that
//! lies where others may put another in its place. What they contain is the caller's.

use std::{
    ffi::OsString,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
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
    /// As that, and not everybody reads it: it holds passwords, which a group may share.
    Passwords,
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
    /// Everybody can read the passwords in it.
    #[error("its mode {mode:04o} lets everybody read the passwords in it; run: chmod o-r")]
    Readable {
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
    /// Others can put another file in its place.
    #[error(
        "the folder {} on the way to it has mode {mode:04o}, which lets others put another file in \
         its place; run: chmod go-w {}", path.display(), path.display()
    )]
    WritableFolder {
        /// The folder.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// Another user can put another file in its place.
    #[error("{} on the way to it belongs to another user (uid {uid})", path.display())]
    ForeignFolder {
        /// The folder, or the link.
        path: PathBuf,
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
    check_way(path)?;
    // Nobody else can put another file there; all the same the open file is asked and not its name.
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
        Guard::Secret => Ok(()),
        Guard::Trusted | Guard::Passwords if mode & 0o022 != 0 => {
            Err(GuardError::Writable { mode })
        }
        Guard::Trusted | Guard::Passwords if !is_ours(metadata.uid()) => Err(GuardError::Foreign {
            uid: metadata.uid(),
        }),
        Guard::Passwords if mode & 0o004 != 0 => Err(GuardError::Readable { mode }),
        Guard::Trusted | Guard::Passwords => Ok(()),
    }
}

/// How many links may lie on the way to a file, as in the system.
const MAX_LINKS: usize = 40;

/// Checks every folder and link on the way to `path`, as sshd's StrictModes does, the folders of links
/// included: whoever can change one of them can say what the path means.
pub(crate) fn check_way(path: &Path) -> Result<(), GuardError> {
    let mut left: Vec<OsString> = Vec::new();
    let push = |left: &mut Vec<OsString>, path: &Path| {
        let parts = path.components().rev();
        left.extend(parts.map(|part| part.as_os_str().to_owned()));
    };
    push(&mut left, &std::path::absolute(path)?);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    check_folder(&at, &at.symlink_metadata()?)?;
    while let Some(part) = left.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        // An absolute path, as of a link, begins anew.
        let next = at.join(&part);
        let metadata = next.symlink_metadata()?;
        if metadata.is_symlink() {
            if is_descriptor(&at) {
                // An open file of ours, which has no other way to it.
                return Ok(());
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from(rustix::io::Errno::LOOP).into());
            }
            check_owner(&next, &metadata)?;
            push(&mut left, &next.read_link()?);
        } else if metadata.is_dir() {
            check_folder(&next, &metadata)?;
            at = next;
        } else {
            at = next;
        }
    }
    Ok(())
}

/// Whether `folder` is one of those in which the system lists our open files.
fn is_descriptor(folder: &Path) -> bool {
    let mut parts = folder.components().skip(1).map(|part| part.as_os_str());
    let is_proc = parts.next().is_some_and(|part| part == "proc");
    is_proc && parts.last().is_some_and(|part| part == "fd")
}

fn check_folder(path: &Path, metadata: &Metadata) -> Result<(), GuardError> {
    let mode = metadata.mode() & 0o7777;
    // In a sticky folder, as /tmp, nobody replaces what is another's.
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        let path = path.to_owned();
        return Err(GuardError::WritableFolder { path, mode });
    }
    check_owner(path, metadata)
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), GuardError> {
    match metadata.uid() {
        uid if is_ours(uid) => Ok(()),
        uid => Err(GuardError::ForeignFolder {
            path: path.to_owned(),
            uid,
        }),
    }
}

fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}
