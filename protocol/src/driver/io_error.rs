//! Conversions of the protocol's errors into `io::Error`, for `AsyncRead`, `AsyncWrite` and `?`.
//! The errors themselves live in `crate::error`.

use std::io::{self, ErrorKind};

use crate::error::{ConnectError, ConnectionError, ReadError, SendDatagramError, WriteError};

/// The kind an application most likely handles this way.
fn connection_kind(error: &ConnectionError) -> ErrorKind {
    match error {
        ConnectionError::TimedOut | ConnectionError::HandshakeTimedOut => ErrorKind::TimedOut,
        ConnectionError::Reset => ErrorKind::ConnectionReset,
        ConnectionError::VersionMismatch => ErrorKind::Unsupported,
        ConnectionError::PeerRejected(_) | ConnectionError::SigningFailed(_) => {
            ErrorKind::PermissionDenied
        }
        ConnectionError::PeerTransport { .. } | ConnectionError::PeerClosed { .. } => {
            ErrorKind::ConnectionAborted
        }
        ConnectionError::Transport(_) => ErrorKind::InvalidData,
        ConnectionError::LocallyClosed => ErrorKind::NotConnected,
    }
}

impl From<ConnectionError> for io::Error {
    fn from(error: ConnectionError) -> Self {
        Self::new(connection_kind(&error), error)
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::EndpointClosed => ErrorKind::NotConnected,
            ConnectError::InvalidAddress(_) => ErrorKind::InvalidInput,
            ConnectError::Connection(cause) => connection_kind(cause),
        };
        Self::new(kind, error)
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Blocked => ErrorKind::WouldBlock,
            WriteError::Stopped(_) => ErrorKind::ConnectionReset,
            WriteError::Closed => ErrorKind::BrokenPipe,
            WriteError::ConnectionLost(cause) => connection_kind(cause),
        };
        Self::new(kind, error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Blocked => ErrorKind::WouldBlock,
            ReadError::Reset(_) => ErrorKind::ConnectionReset,
            ReadError::Closed => ErrorKind::NotConnected,
            ReadError::IllegalOrderedRead => ErrorKind::InvalidInput,
            ReadError::ConnectionLost(cause) => connection_kind(cause),
        };
        Self::new(kind, error)
    }
}

impl From<SendDatagramError> for io::Error {
    fn from(error: SendDatagramError) -> Self {
        let kind = match &error {
            SendDatagramError::Unsupported => ErrorKind::Unsupported,
            SendDatagramError::TooLarge => ErrorKind::InvalidInput,
            SendDatagramError::Blocked => ErrorKind::WouldBlock,
            SendDatagramError::ConnectionLost(cause) => connection_kind(cause),
        };
        Self::new(kind, error)
    }
}
