//! Which failures to connect are a refusal that stays, and which may pass while one waits.
//! How each is told to the user lives in `connect`.

use rp_protocol::error::{ConnectError, ConnectionError, TransportCode};

use super::ConnectFailure;

impl ConnectFailure {
    /// Whether trying again would fail as well until the user has changed something here or there. A
    /// server, a network or a name server may be late instead, as after a power cut.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Connect { source, .. } => is_answer(source),
            Self::Identity(_)
            | Self::NoKnownHosts
            | Self::HostKey(_)
            | Self::NoService { .. }
            | Self::KeyRefused(_)
            | Self::NotPermitted { .. }
            | Self::Version(_) => true,
            Self::Resolve { .. }
            | Self::NoAddress(_)
            | Self::Socket(_)
            | Self::Silence(_)
            | Self::TooMany { .. } => false,
        }
    }
}

/// Whether a failed handshake is the answer of a server that is there and will answer so again.
fn is_answer(source: &ConnectError) -> bool {
    match source {
        ConnectError::Connection(ConnectionError::PeerTransport { code, .. }) => ![
            TransportCode::NO_ERROR,
            TransportCode::INTERNAL_ERROR,
            TransportCode::CONNECTION_REFUSED,
            TransportCode::INVALID_TOKEN,
        ]
        .contains(code),
        ConnectError::Connection(
            ConnectionError::PeerRejected(_)
            | ConnectionError::SigningFailed(_)
            | ConnectionError::Transport(_),
        ) => true,
        _ => false,
    }
}
