//! Why a target was not reached, as it travels from the exit to the front end's reply.
//! Transport errors live in the protocol crate.

use std::{fmt, io};

use rp_protocol::error::{ConnectionError, ReadError, WriteError};
use thiserror::Error;

/// The kinds of failure a reply can carry. The discriminants are the wire values of
/// `spec/10-proxy.md#reply`; 1 to 8 are those of SOCKS5 (RFC 1928 section 6).
///
/// ```
/// use rp_proxy::error::FailureKind;
///
/// assert_eq!(FailureKind::from_wire(5), FailureKind::Refused);
/// assert_eq!(FailureKind::from_wire(99), FailureKind::General);
/// assert_eq!(FailureKind::TimedOut.into_wire(), 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FailureKind {
    /// Anything that has no number of its own.
    General = 1,
    /// The exit's policy or the client key's options forbid the target.
    Denied = 2,
    /// No route to the target's network.
    NetworkUnreachable = 3,
    /// No route to the target.
    HostUnreachable = 4,
    /// The target answered that nobody listens there.
    Refused = 5,
    /// No answer within the dial timeout.
    TimedOut = 6,
    /// The command is not served.
    CommandUnsupported = 7,
    /// The kind of address is not known.
    AddressUnsupported = 8,
    /// The name does not resolve.
    NameNotFound = 9,
    /// The request broke the format.
    Malformed = 10,
    /// The exit is at its limit of connections or descriptors.
    Exhausted = 11,
}

impl FailureKind {
    /// The kind with the wire value `code`; unknown values read as [`FailureKind::General`].
    pub fn from_wire(code: u8) -> Self {
        match code {
            2 => Self::Denied,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::Refused,
            6 => Self::TimedOut,
            7 => Self::CommandUnsupported,
            8 => Self::AddressUnsupported,
            9 => Self::NameNotFound,
            10 => Self::Malformed,
            11 => Self::Exhausted,
            _ => Self::General,
        }
    }

    /// The wire value.
    pub fn into_wire(self) -> u8 {
        self as u8
    }

    /// What a socket error says about reaching a target.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    ///
    /// use rp_proxy::error::FailureKind;
    ///
    /// let refused = Error::from(ErrorKind::ConnectionRefused);
    /// assert_eq!(FailureKind::from_io(&refused), FailureKind::Refused);
    /// ```
    pub fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::HostUnreachable => Self::HostUnreachable,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
                Self::NetworkUnreachable
            }
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::OutOfMemory | io::ErrorKind::QuotaExceeded => Self::Exhausted,
            // EMFILE and ENFILE have no kind of their own in std.
            _ => match error.raw_os_error() {
                Some(23 | 24) => Self::Exhausted,
                _ => Self::General,
            },
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::General => "the target could not be reached",
            Self::Denied => "the target is not allowed",
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::Refused => "connection refused",
            Self::TimedOut => "no answer from the target",
            Self::CommandUnsupported => "command not supported",
            Self::AddressUnsupported => "address type not supported",
            Self::NameNotFound => "the name does not resolve",
            Self::Malformed => "malformed request",
            Self::Exhausted => "too many connections",
        })
    }
}

/// A dial that failed at the exit: its kind, and words for people.
///
/// ```
/// use rp_proxy::error::{DialFailure, FailureKind};
///
/// let failure = DialFailure::because(FailureKind::Denied, "loopback address");
/// assert_eq!(failure.to_string(), "the target is not allowed: loopback address");
/// ```
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{kind}{}", detail(.reason))]
pub struct DialFailure {
    /// What went wrong.
    pub kind: FailureKind,
    /// More words, printable ASCII, possibly empty.
    pub reason: String,
}

impl DialFailure {
    /// A failure of `kind` with nothing more to say.
    pub fn new(kind: FailureKind) -> Self {
        Self {
            kind,
            reason: String::new(),
        }
    }

    /// A failure of `kind` with `reason`.
    pub fn because(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }
}

fn detail(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

/// Why a client's stream to a target is not usable.
///
/// ```
/// use rp_proxy::error::{DialFailure, FailureKind, OpenError};
///
/// let error = OpenError::from(DialFailure::new(FailureKind::Refused));
/// assert_eq!(error.kind(), FailureKind::Refused);
/// ```
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// There is no connection to the server, and why.
    #[error("no connection to the server: {0}")]
    LinkDown(String),
    /// The connection to the server ended while the target was being dialled.
    #[error("the connection to the server was lost: {0}")]
    ConnectionLost(#[from] ConnectionError),
    /// The exit could not or would not reach the target.
    #[error(transparent)]
    Dial(#[from] DialFailure),
    /// The server ended the stream without a valid reply.
    #[error("the server gave no valid answer")]
    BadReply,
}

impl OpenError {
    /// The kind of failure to tell a client that asked for a target.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Dial(failure) => failure.kind,
            Self::LinkDown(_) | Self::ConnectionLost(_) | Self::BadReply => FailureKind::General,
        }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(lost) => Self::ConnectionLost(lost),
            _ => Self::BadReply,
        }
    }
}

impl From<WriteError> for OpenError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(lost) => Self::ConnectionLost(lost),
            _ => Self::BadReply,
        }
    }
}
