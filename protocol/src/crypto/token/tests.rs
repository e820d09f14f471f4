//! Tokens forged, expired and moved; tags altered.

use super::*;

const ORIGINAL: ConnectionId = ConnectionId::new([1; 8]);
const RETRY: ConnectionId = ConnectionId::new([2; 8]);

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary origin of virtual time"
)]
fn epoch() -> Instant {
    Instant::now()
}

fn client() -> SocketAddr {
    "192.0.2.7:4433".parse().unwrap()
}

fn tokens() -> RetryTokens {
    RetryTokens::from_seed(&[3; 32])
}

#[test]
fn token_comes_back_with_the_original_id() {
    let (mut tokens, now) = (tokens(), epoch());
    let token = tokens.issue(now, client(), &ORIGINAL, &RETRY);
    assert_eq!(tokens.open(now, client(), &RETRY, &token), Ok(ORIGINAL));
    let later = now + LIFETIME;
    assert_eq!(tokens.open(later, client(), &RETRY, &token), Ok(ORIGINAL));
}

//= spec/02-handshake.md#retry
//= type=test
//# A server MUST accept a token only from the address and port it was issued to, in a packet
//# for the connection id its Retry named, and within 15 seconds.
#[test]
fn token_moved_or_late_is_refused() {
    let (mut tokens, now) = (tokens(), epoch());
    let token = tokens.issue(now, client(), &ORIGINAL, &RETRY);
    for other in ["192.0.2.8:4433", "192.0.2.7:4434", "[2001:db8::7]:4433"] {
        let other = other.parse().unwrap();
        let answer = tokens.open(now, other, &RETRY, &token);
        assert_eq!(answer, Err(TokenError::Invalid));
    }
    let answer = tokens.open(now, client(), &ORIGINAL, &token);
    assert_eq!(answer, Err(TokenError::Invalid));
    let late = now + LIFETIME + Duration::from_millis(1);
    let answer = tokens.open(late, client(), &RETRY, &token);
    assert_eq!(answer, Err(TokenError::Expired));
}

#[test]
fn token_forged_or_cut_is_refused() {
    let (mut tokens, now) = (tokens(), epoch());
    let token = tokens.issue(now, client(), &ORIGINAL, &RETRY);
    for bit in 0..token.len() * 8 {
        let mut forged = token;
        forged[bit / 8] ^= 1 << (bit % 8);
        let answer = tokens.open(now, client(), &RETRY, &forged);
        assert_eq!(answer, Err(TokenError::Invalid), "bit {bit}");
    }
    for len in 0..token.len() {
        let answer = tokens.open(now, client(), &RETRY, &token[..len]);
        assert_eq!(answer, Err(TokenError::Invalid), "{len} bytes");
    }
    let long = [&token[..], &[0]].concat();
    let answer = tokens.open(now, client(), &RETRY, &long);
    assert_eq!(answer, Err(TokenError::Invalid));
}

#[test]
fn token_of_another_process_is_refused() {
    let now = epoch();
    let token = tokens().issue(now, client(), &ORIGINAL, &RETRY);
    let mut other = RetryTokens::from_seed(&[4; 32]);
    assert_eq!(
        other.open(now, client(), &RETRY, &token),
        Err(TokenError::Invalid)
    );
    other.issue(now, client(), &ORIGINAL, &RETRY);
    assert_eq!(
        other.open(now, client(), &RETRY, &token),
        Err(TokenError::Invalid)
    );
}

#[test]
fn tokens_for_the_same_client_differ() {
    let (mut tokens, now) = (tokens(), epoch());
    let first = tokens.issue(now, client(), &ORIGINAL, &RETRY);
    let second = tokens.issue(now, client(), &ORIGINAL, &RETRY);
    assert_ne!(first, second);
}

#[test]
fn ipv4_client_is_the_same_through_a_dual_stack_socket() {
    let (mut tokens, now) = (tokens(), epoch());
    let token = tokens.issue(now, client(), &ORIGINAL, &RETRY);
    let mapped = "[::ffff:192.0.2.7]:4433".parse().unwrap();
    assert_eq!(tokens.open(now, mapped, &RETRY, &token), Ok(ORIGINAL));
}

#[test]
fn retry_constants_are_the_digests_the_specification_names() {
    let digest = |text: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text);
    let key = digest(b"RPP/1 retry integrity key");
    assert_eq!(key.as_ref()[..16], RETRY_KEY);
    let nonce = digest(b"RPP/1 retry integrity nonce");
    assert_eq!(nonce.as_ref()[..NONCE_LEN], RETRY_NONCE);
}

//= spec/02-handshake.md#retry-integrity
//= type=test
//# A client MUST drop a Retry whose integrity tag is wrong.
#[test]
fn retry_altered_or_for_another_packet_is_noticed() {
    let retry = b"header and token".to_vec();
    let packet = [&retry[..], &retry_tag(&ORIGINAL, &retry)].concat();
    assert!(is_retry_for(&ORIGINAL, &packet));
    assert!(!is_retry_for(&RETRY, &packet));
    assert!(!is_retry_for(&ORIGINAL, &packet[..15]));
    for bit in 0..packet.len() * 8 {
        let mut altered = packet.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!is_retry_for(&ORIGINAL, &altered), "bit {bit}");
    }
}

//= spec/02-handshake.md#retry-integrity
//= type=test
//# The integrity tag MUST be computed over the original destination connection id followed by the
//# Retry packet without its tag.
#[test]
fn retry_tag_is_that_of_an_independent_implementation() {
    let tag = retry_tag(&ConnectionId::new(*b"original"), b"retry packet");
    assert_eq!(tag, RETRY_VECTOR);
}

/// AES-128-GCM by Python's `cryptography` over `b"originalretry packet"`.
const RETRY_VECTOR: [u8; 16] = [
    0x31, 0x76, 0x62, 0x10, 0x3c, 0x5c, 0x18, 0x36, 0x59, 0xba, 0x0a, 0x11, 0x5f, 0x30, 0x4f, 0xbb,
];

//= spec/02-handshake.md#stateless-reset
//= type=test
//# A reset token MUST NOT be computable from its connection id without the endpoint's secret.
#[test]
fn reset_tokens_differ_by_id_and_by_secret() {
    let key = ResetKey::from_seed(&[5; 32]);
    assert_eq!(
        key.token(&RETRY),
        ResetKey::from_seed(&[5; 32]).token(&RETRY)
    );
    assert_ne!(key.token(&RETRY), key.token(&ORIGINAL));
    assert_ne!(
        key.token(&RETRY),
        ResetKey::from_seed(&[6; 32]).token(&RETRY)
    );
}

#[test]
fn reset_is_known_by_the_end_of_a_datagram() {
    let token = ResetKey::from_seed(&[5; 32]).token(&RETRY);
    let reset = [&[0x5a; 24][..], token.as_bytes()].concat();
    assert!(token.ends(&reset));
    assert!(!token.ends(&reset[..39]));
    assert!(!token.ends(&reset[30..]));
    assert_eq!(format!("{token:?}"), "ResetToken");
}

#[test]
fn secrets_for_different_uses_differ() {
    let seed = [7; 32];
    let retry = derive::<16>(&seed, b"RPP/1 retry token");
    let reset = derive::<16>(&seed, b"RPP/1 stateless reset");
    assert_ne!(retry, reset);
}

#[test]
fn a_retry_is_that_of_the_vectors() {
    let vectors = crate::crypto::testing::sealing_vectors();
    let hex = |field| crate::crypto::testing::hex(&vectors["retry"], field);
    let original = ConnectionId::new(hex("original_id").try_into().unwrap());
    let mut packet = hex("packet");
    assert!(is_retry_for(&original, &packet));
    packet[0] ^= 1;
    assert!(!is_retry_for(&original, &packet));
}
