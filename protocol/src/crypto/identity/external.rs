//! The bridge from TLS's questions for signatures to a private key kept elsewhere.

use std::{fmt, sync::Arc};

use rustls::{
    Error, OtherError, SignatureAlgorithm, SignatureScheme,
    pki_types::SubjectPublicKeyInfoDer,
    sign::{Signer, SigningKey},
};

use super::{PublicKey, Sign};

/// A key whose private half is elsewhere.
#[derive(Clone)]
pub(super) struct ExternalKey {
    public: PublicKey,
    signer: Arc<dyn Sign>,
}

impl ExternalKey {
    pub(super) fn new(public: PublicKey, signer: Arc<dyn Sign>) -> Self {
        Self { public, signer }
    }
}

impl fmt::Debug for ExternalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalKey({})", self.public)
    }
}

impl SigningKey for ExternalKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(
            self.public.to_spki().to_vec(),
        ))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for ExternalKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.signer.sign(message);
        signature
            .map(|signature| signature.to_vec())
            .map_err(|failed| Error::Other(OtherError(Arc::new(failed))))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
