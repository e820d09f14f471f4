//! Keys and their outward forms.

use super::*;

/// RFC 8032 section 7.1, test 1; the fingerprint is what `ssh-keygen -lf` prints for the key.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
const FINGERPRINT: &str = "SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8";

#[test]
fn seed_gives_the_public_key_of_rfc_8032() {
    let identity = Identity::from_seed(&SEED);
    assert_eq!(identity.public_key(), PublicKey::from_bytes(PUBLIC));
}

#[test]
fn fingerprint_is_the_one_openssh_prints() {
    let key = PublicKey::from_bytes(PUBLIC);
    assert_eq!(key.fingerprint(), FINGERPRINT);
    assert_eq!(key.to_string(), FINGERPRINT);
}

#[test]
fn spki_is_der_of_rfc_8410_and_comes_back() {
    let key = PublicKey::from_bytes(PUBLIC);
    let spki = key.to_spki();
    assert_eq!(spki.len(), 44);
    assert_eq!(PublicKey::from_spki(&spki), Some(key));
}

//= spec/02-handshake.md#peer-keys
//= type=test
//# An endpoint MUST refuse a peer key that is not an Ed25519 key.
#[test]
fn spki_of_another_kind_or_length_is_no_key() {
    let spki = PublicKey::from_bytes(PUBLIC).to_spki();
    assert_eq!(PublicKey::from_spki(&spki[..43]), None);
    assert_eq!(PublicKey::from_spki(&[&spki[..], &[0]].concat()), None);
    assert_eq!(PublicKey::from_spki(&[]), None);
    let mut x25519 = spki;
    x25519[8] = 0x6e;
    assert_eq!(PublicKey::from_spki(&x25519), None);
}

#[test]
fn debug_of_an_identity_shows_the_public_half_only() {
    let text = format!("{:?}", Identity::from_seed(&SEED));
    assert_eq!(
        text,
        format!("Identity {{ public: PublicKey({FINGERPRINT}), .. }}")
    );
}

/// A signer elsewhere, which may be gone.
#[derive(Debug)]
struct Elsewhere(Option<Identity>);

impl Sign for Elsewhere {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SigningFailed> {
        let gone = || SigningFailed("nobody signs".to_owned());
        let identity = self.0.as_ref().ok_or_else(gone)?;
        let schemes = [rustls::SignatureScheme::ED25519];
        let signer = identity.signer().choose_scheme(&schemes).unwrap();
        Ok(signer.sign(message).unwrap().try_into().unwrap())
    }
}

#[test]
fn key_kept_elsewhere_signs_as_one_that_is_here() {
    let public = PublicKey::from_bytes(PUBLIC);
    let here = Identity::from_seed(&SEED);
    let signer = Arc::new(Elsewhere(Some(Identity::from_seed(&SEED))));
    let elsewhere = Identity::external(public, signer, &[7; 32]);
    assert_eq!(elsewhere.public_key(), public);
    assert_eq!(elsewhere.spki(), here.spki());
    let signed = |identity: &Identity| {
        let key = identity.signer();
        assert_eq!(key.public_key().unwrap().as_ref(), &public.to_spki()[..]);
        assert!(
            key.choose_scheme(&[rustls::SignatureScheme::RSA_PSS_SHA256])
                .is_none()
        );
        let signer = key
            .choose_scheme(&[rustls::SignatureScheme::ED25519])
            .unwrap();
        signer.sign(b"message").unwrap()
    };
    assert_eq!(signed(&elsewhere), signed(&here));
}

#[test]
fn signature_that_is_not_given_is_an_error_with_its_reason() {
    let public = PublicKey::from_bytes(PUBLIC);
    let identity = Identity::external(public, Arc::new(Elsewhere(None)), &[7; 32]);
    let key = identity.signer();
    let signer = key
        .choose_scheme(&[rustls::SignatureScheme::ED25519])
        .unwrap();
    let error = signer.sign(b"message").unwrap_err();
    assert!(error.to_string().contains("nobody signs"), "{error}");
}
