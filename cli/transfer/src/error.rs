//! What can go wrong with a copy, in words for people and as a status for the other side.
//! Exit codes are the programs' business.

use std::{fmt, io};

use thiserror::Error;

use crate::{
    message::{DecodeError, Done, Status},
    path::PathError,
};

/// Why a copy failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The system refused something on this side.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, with the name of the file.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A path that is not acceptable.
    #[error("{path}: {source}")]
    Path {
        /// The path, printable.
        path: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// The source or the existing target is a folder, a device or the like.
    #[error("{0}: not a regular file")]
    NotAFile(String),
    /// A folder among the files to copy, without `-r`.
    #[error("{0}: is a folder: -r copies it with all that is in it")]
    Folder(String),
    /// Several files are to go into what is no folder.
    #[error("{0}: is no folder, and several files need one")]
    NotAFolder(String),
    /// A folder, where only its removal with all that is in it would do.
    #[error("{0}: is a folder that is not empty: it goes with all that is in it by -r")]
    IsFolder(String),
    /// The target is a folder and the source has no name to keep.
    #[error("{0}: is a folder, and the source has no name: say what the file is to be called")]
    NeedsName(String),
    /// This client may only read.
    #[error("{0}: this key may only read here")]
    ReadOnly(String),
    /// Another copy writes the same file.
    #[error("{0}: another copy is writing this file")]
    Busy(String),
    /// The file does not fit.
    #[error("{name}: needs {} and only {} are free", Bytes(*.needed), Bytes(*.free))]
    NoSpace {
        /// The target.
        name: String,
        /// Size of the file.
        needed: u64,
        /// Space that is left.
        free: u64,
    },
    /// The extended attributes of a file are more than a message carries.
    #[error("{0}: its extended attributes take more than 32 KiB, which is what a copy carries")]
    Xattrs(String),
    /// The bytes that arrived are not those that were sent.
    #[error("integrity: {0}")]
    Integrity(&'static str),
    /// The source changed while it was read.
    #[error("{0}: changed while it was read")]
    SourceChanged(String),
    /// The other side said something that is not a message.
    #[error("the other side sent a bad message: {0}")]
    Decode(#[from] DecodeError),
    /// The other side broke a rule of the copy protocol.
    #[error("the other side broke the copy protocol: {0}")]
    Protocol(&'static str),
    /// The other side ended the copy.
    #[error("the other side reports: {}", Peer(.0))]
    Peer(Done),
    /// No more copies are taken at the moment.
    #[error("too many copies at once for {0}: try again when others have ended")]
    TooManyCopies(&'static str),
    /// The copy was stopped on this side, or its connection is gone.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// An [`Error::Io`] for something attempted with the file `name`.
    pub fn io(name: impl fmt::Display, source: impl Into<io::Error>) -> Self {
        Self::Io {
            what: name.to_string(),
            source: source.into(),
        }
    }

    /// The status sent to the other side, and what exit codes are made of.
    pub fn status(&self) -> Status {
        match self {
            Self::Io { source, .. } => io_status(source),
            Self::Path { .. } => Status::BadPath,
            Self::NotAFile(_)
            | Self::Folder(_)
            | Self::NotAFolder(_)
            | Self::IsFolder(_)
            | Self::NeedsName(_) => Status::NotAFile,
            Self::ReadOnly(_) => Status::Permission,
            Self::Busy(_) => Status::Busy,
            Self::NoSpace { .. } => Status::NoSpace,
            Self::Integrity(_) => Status::Integrity,
            Self::SourceChanged(_) => Status::SourceChanged,
            Self::Decode(error) => error.status(),
            Self::Protocol(_) => Status::Protocol,
            Self::Peer(done) => done.status,
            Self::TooManyCopies(_) | Self::Xattrs(_) => Status::Failed,
            Self::Interrupted => Status::Interrupted,
        }
    }

    /// The error without who reports it.
    pub fn reason(&self) -> String {
        match self {
            Self::Peer(done) => Peer(done).to_string(),
            error => error.to_string(),
        }
    }

    /// The Done message that ends the copy for the other side.
    pub fn to_done(&self) -> Done {
        Done {
            status: self.status(),
            text: self.reason(),
        }
    }
}

fn io_status(error: &io::Error) -> Status {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound | Kind::NotADirectory => Status::NotFound,
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Status::Permission,
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Status::NoSpace,
        Kind::IsADirectory => Status::NotAFile,
        Kind::InvalidFilename => Status::BadPath,
        _ => Status::Failed,
    }
}

/// A byte string for people: control characters become `?`, bytes that are not UTF-8 become the
/// replacement character, and no more than 300 characters are kept.
pub fn printable(bytes: &[u8]) -> String {
    //= spec/20-copy.md#messages
    //# A text MUST be stripped of control characters before it reaches a terminal or a log.
    String::from_utf8_lossy(bytes)
        .chars()
        .take(300)
        .map(|c| if is_unsafe(c) { '?' } else { c })
        .collect()
}

/// Characters that steer a terminal or turn the direction of the text around them.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What a Done message says, printable.
struct Peer<'a>(&'a Done);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.text.is_empty() {
            return f.write_str(&printable(self.0.text.as_bytes()));
        }
        f.write_str(match self.0.status {
            Status::Ok => "done",
            Status::Failed => "failed",
            Status::NotFound => "no such file or folder",
            Status::Permission => "permission denied",
            Status::NoSpace => "no space left",
            Status::Integrity => "the digest differs",
            Status::SourceChanged => "the file changed while it was read",
            Status::BadPath => "the path is not acceptable",
            Status::NotAFile => "not a regular file",
            Status::Busy => "another copy is writing this file",
            Status::Unsupported => "not supported",
            Status::Interrupted => "interrupted",
            Status::Protocol => "protocol error",
        })
    }
}

/// A size in whole bytes with a binary multiple beside it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 10 << 30 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes >= 10 << 20 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 10 << 10 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}
