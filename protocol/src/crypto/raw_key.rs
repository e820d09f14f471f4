//! The bridge from TLS's certificate questions to [`PeerVerifier`]: raw Ed25519 keys only.
//! No policy lives here.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use super::identity::{PeerVerifier, PublicKey};

/// Checks a peer's raw key for both sides.
///
/// The order matters: the signature is checked first and the policy asked afterwards, so a
/// verifier only ever hears of keys their owner is present with.
pub(super) struct RawKeyVerifier {
    policy: Arc<dyn PeerVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl RawKeyVerifier {
    pub(super) fn new(
        policy: Arc<dyn PeerVerifier>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { policy, algorithms }
    }

    /// The key in what TLS calls a certificate.
    //= spec/02-handshake.md#peer-keys
    //# An endpoint MUST refuse a peer key that is not an Ed25519 key.
    fn key(end_entity: &CertificateDer<'_>) -> Result<PublicKey, Error> {
        PublicKey::from_spki(end_entity)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
    }

    fn verify(
        &self,
        message: &[u8],
        end_entity: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = Self::key(end_entity)?;
        //= spec/02-handshake.md#peer-keys
        //# An endpoint MUST verify the signature of the peer's CertificateVerify message before it
        //# asks whether the key is trusted.
        let proof = verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(end_entity.as_ref()),
            signature,
            &self.algorithms,
        )?;
        //= spec/02-handshake.md#peer-keys
        //# An endpoint MUST ask its own policy whether the proven key is trusted, and MUST end the
        //# handshake if it is not.
        self.policy.verify(&key).map_err(|rejected| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(rejected))))
        })?;
        Ok(proof)
    }
}

/// TLS 1.2 is not offered, so nobody can ask for its signatures.
fn no_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled)
}

impl ServerCertVerifier for RawKeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Self::key(end_entity).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for RawKeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Self::key(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl fmt::Debug for RawKeyVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawKeyVerifier").field(&self.policy).finish()
    }
}
