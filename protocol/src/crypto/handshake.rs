//! The TLS 1.3 handshake as bytes in, bytes and keys out; see `spec/02-handshake.md`.
//! Retransmission and ordering of those bytes belong to the connection.

use std::{fmt, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, Error,
    client::{AlwaysResolvesClientRawPublicKeys, Resumption},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime},
    quic,
    server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage},
    sign::CertifiedKey,
    time_provider::TimeProvider,
    version::TLS13,
};

use super::{
    identity::{Identity, PeerRejected, PublicKey, SigningFailed},
    keys::{DataKeys, LevelKeys},
    raw_key::RawKeyVerifier,
};
use crate::{
    config::{ClientConfig, ServerConfig},
    error::{ConnectionError, TransportCode, TransportError},
};

#[cfg(test)]
mod tests;

/// Longest service name TLS can carry (RFC 7301 section 3.1).
const MAX_SERVICE_LEN: usize = 255;

/// Under which keys a packet is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// Keys anybody can compute from the first destination connection id.
    Initial,
    /// Keys of the key exchange, before the peers have proven who they are.
    Handshake,
    /// Keys of the finished handshake.
    Data,
}

/// Keys that came of age; handshake bytes written from here on belong to their level.
#[expect(
    clippy::large_enum_variant,
    reason = "two of these exist in the life of a connection, and are moved once"
)]
pub(crate) enum KeyChange {
    /// Keys for [`Level::Handshake`].
    Handshake(LevelKeys),
    /// Keys for [`Level::Data`].
    Data(DataKeys),
}

impl fmt::Debug for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake(_) => "Handshake",
            Self::Data(_) => "Data",
        })
    }
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionError {
    /// Our verifier refused the peer's key, with its words.
    Rejected(String),
    /// Our own key did not sign, with the reason.
    Unsigned(String),
    /// TLS, or the order of its messages, was violated.
    Transport(TransportError),
}

impl SessionError {
    /// What the peer is told in the CLOSE frame: never more than an alert's number.
    pub(crate) fn code(&self) -> TransportCode {
        match self {
            //= spec/02-handshake.md#peer-keys
            //# An endpoint that refuses a key MUST close with the alert access_denied and MUST NOT
            //# tell the peer more than that.
            Self::Rejected(_) => TransportCode::crypto(u8::from(AlertDescription::AccessDenied)),
            Self::Unsigned(_) => TransportCode::crypto(u8::from(AlertDescription::InternalError)),
            Self::Transport(error) => error.code,
        }
    }
}

impl From<TransportError> for SessionError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<SessionError> for ConnectionError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Rejected(reason) => Self::PeerRejected(reason),
            SessionError::Unsigned(reason) => Self::SigningFailed(reason),
            SessionError::Transport(error) => Self::Transport(error),
        }
    }
}

/// A client's TLS settings, made once and shared by its connections.
#[derive(Clone, Debug)]
pub(crate) struct ClientCrypto {
    tls: Arc<rustls::ClientConfig>,
}

impl ClientCrypto {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let provider = Arc::new(provider());
        let verifier = RawKeyVerifier::new(
            Arc::clone(&config.verifier),
            provider.signature_verification_algorithms,
        );
        let resolver = AlwaysResolvesClientRawPublicKeys::new(certified(&config.identity));
        //= spec/02-handshake.md#tls
        //# An endpoint MUST NOT negotiate any version of TLS but 1.3.
        let mut tls = rustls::ClientConfig::builder_with_details(provider, Arc::new(NoClock))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider's suites are those of TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(resolver));
        tls.alpn_protocols = vec![config.service.clone().into_bytes()];
        tls.enable_sni = false;
        //= spec/02-handshake.md#tls
        //# An endpoint MUST NOT resume a session or send early data.
        tls.resumption = Resumption::disabled();
        Self { tls: Arc::new(tls) }
    }
}

/// A server's TLS settings, made once and shared by its connections.
#[derive(Clone, Debug)]
pub(crate) struct ServerCrypto {
    tls: Arc<rustls::ServerConfig>,
}

impl ServerCrypto {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let provider = Arc::new(provider());
        let verifier = RawKeyVerifier::new(
            Arc::clone(&config.verifier),
            provider.signature_verification_algorithms,
        );
        let resolver = AlwaysResolvesServerRawPublicKeys::new(certified(&config.identity));
        //= spec/02-handshake.md#peer-keys
        //# A server MUST ask for the client's key, and MUST end the handshake of a client that
        //# shows none.
        let mut tls = rustls::ServerConfig::builder_with_details(provider, Arc::new(NoClock))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider's suites are those of TLS 1.3")
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(resolver));
        //= spec/02-handshake.md#service
        //# A server MUST end the handshake with the alert no_application_protocol when it offers none
        //# of the client's services.
        tls.alpn_protocols = (config.services.iter())
            .filter(|service| is_service_name(service))
            .map(|service| service.clone().into_bytes())
            .collect();
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        //= spec/02-handshake.md#tls
        //# A server MUST NOT send session tickets.
        tls.send_tls13_tickets = 0;
        tls.max_early_data_size = 0;
        Self { tls: Arc::new(tls) }
    }
}

/// One handshake in progress or done.
///
/// Drive it so: feed [`read`](Self::read) the bytes of CRYPTO frames in order, then call
/// [`write`](Self::write) until it returns `None` and has written nothing. What a call writes
/// belongs to the level in force before the [`KeyChange`] it returns.
pub(crate) struct Session {
    tls: quic::Connection,
    reading: Level,
}

impl Session {
    /// A client's handshake that sends `params`, its encoded transport parameters.
    ///
    /// # Errors
    /// The service name asked for is empty or longer than 255 bytes.
    pub(crate) fn client(crypto: &ClientCrypto, params: Vec<u8>) -> Result<Self, SessionError> {
        //= spec/02-handshake.md#service
        //# A client MUST offer at least one service name.
        let named = crypto.tls.alpn_protocols.iter().all(|name| {
            let len = name.len();
            len > 0 && len <= MAX_SERVICE_LEN
        });
        if !named {
            return Err(internal("a service name has 1 to 255 bytes").into());
        }
        // Nobody reads this name: the key is the peer's only one, and it is not sent (no SNI).
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4])));
        quic::ClientConnection::new(Arc::clone(&crypto.tls), quic::Version::V1, name, params)
            .map(|tls| Self::new(tls.into()))
            .map_err(|_| internal("TLS refused its own client settings").into())
    }

    /// A server's handshake that sends `params`, its encoded transport parameters.
    ///
    /// # Errors
    /// TLS refused the settings, which is a defect of this crate.
    pub(crate) fn server(crypto: &ServerCrypto, params: Vec<u8>) -> Result<Self, SessionError> {
        quic::ServerConnection::new(Arc::clone(&crypto.tls), quic::Version::V1, params)
            .map(|tls| Self::new(tls.into()))
            .map_err(|_| internal("TLS refused its own server settings").into())
    }

    fn new(tls: quic::Connection) -> Self {
        Self {
            tls,
            reading: Level::Initial,
        }
    }

    /// The level whose CRYPTO bytes are expected.
    pub(crate) const fn reading(&self) -> Level {
        self.reading
    }

    /// Takes the next handshake bytes of `level`, in order and without repetition.
    ///
    /// # Errors
    /// The handshake failed; the session is of no further use.
    pub(crate) fn read(&mut self, level: Level, data: &[u8]) -> Result<(), SessionError> {
        if data.is_empty() {
            return Ok(());
        }
        //= spec/02-handshake.md#levels
        //# An endpoint MUST NOT feed TLS handshake bytes of another level than the handshake is at,
        //# nor any after it is complete.
        if level != self.reading || !self.tls.is_handshaking() {
            return Err(TransportError::new(
                TransportCode::PROTOCOL_VIOLATION,
                "handshake bytes at the wrong level",
            )
            .into());
        }
        self.tls.read_hs(data).map_err(|error| self.failure(&error))
    }

    /// Appends handshake bytes to send and yields the keys that follow them, if any.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) -> Option<KeyChange> {
        match self.tls.write_hs(out)? {
            quic::KeyChange::Handshake { keys } => {
                self.reading = Level::Handshake;
                Some(KeyChange::Handshake(LevelKeys::new(keys)))
            }
            quic::KeyChange::OneRtt { keys, next } => {
                Some(KeyChange::Data(DataKeys::new(keys, next)))
            }
        }
    }

    /// Whether the handshake is still to finish. Until it has, nothing sealed with
    /// [`Level::Data`] keys may be believed.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// The service agreed on.
    pub(crate) fn service(&self) -> Option<&str> {
        std::str::from_utf8(self.tls.alpn_protocol()?).ok()
    }

    /// The peer's key, once it is proven and accepted and the handshake is done.
    pub(crate) fn peer(&self) -> Option<PublicKey> {
        if self.is_handshaking() {
            return None;
        }
        PublicKey::from_spki(self.tls.peer_certificates()?.first()?)
    }

    /// The peer's encoded transport parameters; authentic only once the handshake is done.
    pub(crate) fn peer_parameters(&self) -> Option<&[u8]> {
        self.tls.quic_transport_parameters()
    }

    /// What `error` means for the connection.
    fn failure(&self, error: &Error) -> SessionError {
        if let Error::InvalidCertificate(CertificateError::Other(other)) = error
            && let Some(PeerRejected(reason)) = other.0.downcast_ref()
        {
            return SessionError::Rejected(reason.clone());
        }
        if let Error::Other(other) = error
            && let Some(SigningFailed(reason)) = other.0.downcast_ref()
        {
            return SessionError::Unsigned(reason.clone());
        }
        let Some(alert) = self.tls.alert() else {
            return TransportError::new(
                TransportCode::PROTOCOL_VIOLATION,
                "malformed handshake message",
            )
            .into();
        };
        TransportError::new(TransportCode::crypto(u8::from(alert)), alert_reason(alert)).into()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("reading", &self.reading)
            .field("is_handshaking", &self.is_handshaking())
            .finish_non_exhaustive()
    }
}

/// Words for the alerts a user can do something about.
const fn alert_reason(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::NoApplicationProtocol => "the server does not offer this service",
        AlertDescription::CertificateRequired => "the client showed no key",
        AlertDescription::BadCertificate | AlertDescription::UnsupportedCertificate => {
            "the peer's key is not an Ed25519 key"
        }
        AlertDescription::DecryptError => "the peer does not hold the key it showed",
        AlertDescription::MissingExtension => "the peer sent no transport parameters",
        _ => "the TLS handshake failed",
    }
}

const fn internal(reason: &'static str) -> TransportError {
    TransportError::new(TransportCode::INTERNAL_ERROR, reason)
}

const fn is_service_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_SERVICE_LEN
}

/// The suites of RPP, preferred first.
//= spec/02-handshake.md#tls
//# An endpoint SHOULD prefer AES-128-GCM where the processor has instructions for it and
//# ChaCha20-Poly1305 where it has not.
pub(super) fn provider() -> CryptoProvider {
    //= spec/02-handshake.md#tls
    //# An endpoint MUST support TLS_AES_128_GCM_SHA256 and TLS_CHACHA20_POLY1305_SHA256.
    let mut cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    if !has_aes() {
        cipher_suites.reverse();
    }
    CryptoProvider {
        cipher_suites,
        //= spec/02-handshake.md#tls
        //# An endpoint MUST support the key exchanges X25519MLKEM768 and X25519, and SHOULD prefer
        //# the first.
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
        ],
        ..aws_lc_rs::default_provider()
    }
}

fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let spki = CertificateDer::from(identity.spki().as_ref().to_vec());
    Arc::new(CertifiedKey::new(vec![spki], identity.signer()))
}

/// The engine has no clock, and raw keys have no dates.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::ZERO))
    }
}
