//! The errors an application or a peer can meet, one enum per operation.
//! Errors private to a module (decoding, opening) live in that module.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use crate::units::CloseCode;

/// Close codes the transport itself uses (spec/registry.md).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransportCode(u64);

impl TransportCode {
    /// Closed without an error.
    pub const NO_ERROR: Self = Self(0x00);
    /// The endpoint cannot go on for a reason of its own.
    pub const INTERNAL_ERROR: Self = Self(0x01);
    /// The server takes no connections at the moment.
    pub const CONNECTION_REFUSED: Self = Self(0x02);
    /// More data than the credit allowed.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x03);
    /// More streams than allowed.
    pub const STREAM_LIMIT_ERROR: Self = Self(0x04);
    /// A frame for a stream that cannot receive it.
    pub const STREAM_STATE_ERROR: Self = Self(0x05);
    /// A stream's end moved, or data beyond it.
    pub const FINAL_SIZE_ERROR: Self = Self(0x06);
    /// A frame that does not parse.
    pub const FRAME_ENCODING_ERROR: Self = Self(0x07);
    /// Transport parameters that do not parse or contradict the handshake.
    pub const TRANSPORT_PARAMETER_ERROR: Self = Self(0x08);
    /// More connection ids than the limit.
    pub const CONNECTION_ID_LIMIT_ERROR: Self = Self(0x09);
    /// Anything else the specification forbids; an ACK of a packet never sent among it.
    pub const PROTOCOL_VIOLATION: Self = Self(0x0a);
    /// A token that does not verify.
    pub const INVALID_TOKEN: Self = Self(0x0b);
    /// More handshake bytes than the buffer takes.
    pub const CRYPTO_BUFFER_EXCEEDED: Self = Self(0x0d);
    /// The peer updated keys in a way the specification forbids.
    pub const KEY_UPDATE_ERROR: Self = Self(0x0e);
    /// More packets failed to open than the cipher allows (RFC 9001 section 6.6).
    pub const AEAD_LIMIT_REACHED: Self = Self(0x0f);

    /// The TLS alert `alert` (RFC 8446 section 6) as a close code.
    pub const fn crypto(alert: u8) -> Self {
        Self(0x100 | alert as u64)
    }

    /// The TLS alert this code carries, if it carries one.
    pub fn alert(self) -> Option<u8> {
        if self.0 & !0xff == 0x100 {
            u8::try_from(self.0 & 0xff).ok()
        } else {
            None
        }
    }

    /// The number as it stands on the wire.
    pub const fn into_inner(self) -> u64 {
        self.0
    }
}

impl From<u64> for TransportCode {
    fn from(code: u64) -> Self {
        Self(code)
    }
}

impl fmt::Display for TransportCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::NO_ERROR => "no error",
            Self::INTERNAL_ERROR => "internal error",
            Self::CONNECTION_REFUSED => "connection refused",
            Self::FLOW_CONTROL_ERROR => "flow control error",
            Self::STREAM_LIMIT_ERROR => "stream limit error",
            Self::STREAM_STATE_ERROR => "stream state error",
            Self::FINAL_SIZE_ERROR => "final size error",
            Self::FRAME_ENCODING_ERROR => "frame encoding error",
            Self::TRANSPORT_PARAMETER_ERROR => "transport parameter error",
            Self::CONNECTION_ID_LIMIT_ERROR => "connection id limit error",
            Self::PROTOCOL_VIOLATION => "protocol violation",
            Self::INVALID_TOKEN => "invalid token",
            Self::CRYPTO_BUFFER_EXCEEDED => "crypto buffer exceeded",
            Self::KEY_UPDATE_ERROR => "key update error",
            Self::AEAD_LIMIT_REACHED => "AEAD limit reached",
            other => match other.alert() {
                // The two that a user can do something about (RFC 8446 section 6).
                Some(49) => {
                    "the peer does not let our key in: its authorized_keys must list it (TLS alert 49)"
                }
                Some(120) => "the peer does not offer this service (TLS alert 120)",
                Some(alert) => return write!(f, "TLS alert {alert}"),
                None => return write!(f, "code {:#x}", other.0),
            },
        };
        f.write_str(name)
    }
}

impl fmt::Debug for TransportCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportCode({self})")
    }
}

/// A reason the transport itself found to end a connection; sent to the peer in a CLOSE frame.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{code}: {reason}")]
pub struct TransportError {
    /// What rule was broken.
    pub code: TransportCode,
    /// A sentence for people; a constant, never text taken from the network.
    pub reason: &'static str,
}

impl TransportError {
    /// An error with `code` and a constant `reason`.
    pub const fn new(code: TransportCode, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// Why a connection is over.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConnectionError {
    /// Nothing was heard from the peer for the idle timeout.
    #[error("the peer fell silent: nothing received within the idle timeout")]
    TimedOut,
    /// The handshake did not finish in time: no answer, or UDP is blocked.
    #[error("no answer from the peer: the address may be wrong, or UDP may be blocked")]
    HandshakeTimedOut,
    /// The peer lost its state (it was restarted) and said so.
    #[error("the peer no longer knows this connection (stateless reset)")]
    Reset,
    /// The peer speaks no version of RPP that we do.
    #[error("the peer speaks no common version of the protocol")]
    VersionMismatch,
    /// The peer's key was refused by our verifier, with its reason.
    #[error("the peer's key was refused: {0}")]
    PeerRejected(String),
    /// The private half of our own key, which is kept elsewhere, did not sign; with the reason.
    #[error("no signature by our own key: {0}")]
    SigningFailed(String),
    /// The peer's transport closed the connection.
    #[error("closed by the peer's transport: {code}: {}", printable(.reason))]
    PeerTransport {
        /// What rule the peer says was broken.
        code: TransportCode,
        /// The peer's words; sanitise before printing.
        reason: Bytes,
    },
    /// The peer's application closed the connection.
    #[error("closed by the peer: code {code}: {}", printable(.reason))]
    PeerClosed {
        /// The application's code.
        code: CloseCode,
        /// The peer's words; sanitise before printing.
        reason: Bytes,
    },
    /// We found the peer in breach of the protocol.
    #[error("protocol failure: {0}")]
    Transport(#[from] TransportError),
    /// Our own application closed the connection.
    #[error("closed by this side")]
    LocallyClosed,
}

/// At most 200 bytes of `reason` with everything but printable ASCII replaced: peers' words
/// reach terminals and logs.
fn printable(reason: &[u8]) -> String {
    reason
        .iter()
        .take(200)
        //= spec/06-lifecycle.md#closing
        //# The reason in a CLOSE frame is not trusted: it MUST NOT be shown or logged without its
        //# control characters replaced.
        .map(|&b| {
            if (0x20..0x7f).contains(&b) {
                char::from(b)
            } else {
                '?'
            }
        })
        .collect()
}

/// Why no connection attempt was made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConnectError {
    /// The endpoint is shutting down.
    #[error("the endpoint is closed")]
    EndpointClosed,
    /// The remote address cannot be reached from this socket (port 0, or another IP family).
    #[error("invalid remote address {0}")]
    InvalidAddress(std::net::SocketAddr),
    /// The handshake failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

/// Why bytes could not be written to a stream.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// No credit or buffer space now; a `Writable` event follows.
    #[error("blocked: wait for the stream to become writable")]
    Blocked,
    /// The peer no longer wants this stream's data.
    #[error("stopped by the peer: code {0}")]
    Stopped(CloseCode),
    /// The stream was finished or reset, or never opened.
    #[error("the stream is closed")]
    Closed,
    /// The connection is over.
    #[error(transparent)]
    ConnectionLost(#[from] ConnectionError),
}

/// Why bytes could not be read from a stream.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    /// Nothing to read now; a `Readable` event follows.
    #[error("blocked: wait for the stream to become readable")]
    Blocked,
    /// The peer abandoned the stream.
    #[error("reset by the peer: code {0}")]
    Reset(CloseCode),
    /// The stream was stopped, read to its end, or never opened.
    #[error("the stream is closed")]
    Closed,
    /// Ordered reads after block reads are not possible: the order is gone.
    #[error("ordered read after a block read")]
    IllegalOrderedRead,
    /// The connection is over.
    #[error(transparent)]
    ConnectionLost(#[from] ConnectionError),
}

/// Why a datagram could not be sent.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SendDatagramError {
    /// The peer takes no datagrams.
    #[error("datagrams are not supported by the peer")]
    Unsupported,
    /// Longer than fits a packet on the present path.
    #[error("datagram too large for the path")]
    TooLarge,
    /// The send queue is full; oldest data is kept.
    #[error("the datagram queue is full")]
    Blocked,
    /// The connection is over.
    #[error(transparent)]
    ConnectionLost(#[from] ConnectionError),
}
