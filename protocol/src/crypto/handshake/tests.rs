//! Whole handshakes between two sessions, good and bad.

use super::*;
use crate::crypto::{
    identity::PeerVerifier,
    testing::{Peer, SERVICE, Trust, client_config, drive, identity, peers, server_config},
};

fn code(error: &SessionError) -> u64 {
    error.code().into_inner()
}

#[test]
fn both_sides_agree_on_keys_service_peers_and_parameters() {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    assert!(client.session.is_handshaking() && server.session.is_handshaking());
    drive(&mut client, &mut server).unwrap();

    assert!(!client.session.is_handshaking() && !server.session.is_handshaking());
    assert_eq!(client.session.service(), Some(SERVICE));
    assert_eq!(server.session.service(), Some(SERVICE));
    assert_eq!(client.session.peer(), Some(identity(2).public_key()));
    assert_eq!(server.session.peer(), Some(identity(1).public_key()));
    assert_eq!(client.session.peer_parameters(), Some(&b"server's"[..]));
    assert_eq!(server.session.peer_parameters(), Some(&b"client's"[..]));
    assert!(client.data.is_some() && server.data.is_some());
}

/// Six packets of the handshake: their sizes decide how many datagrams it takes.
#[test]
fn flights_are_as_large_as_the_hybrid_exchange_makes_them() {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    let hello = client.flight();
    assert_eq!(hello.len(), 1);
    assert!(
        (1200..1600).contains(&hello[0].1.len()),
        "{}",
        hello[0].1.len()
    );

    server.session.read(Level::Initial, &hello[0].1).unwrap();
    let answer = server.flight();
    assert_eq!(answer.len(), 2);
    assert_eq!(
        (answer[0].0, answer[1].0),
        (Level::Initial, Level::Handshake)
    );
    assert!(
        (1100..1300).contains(&answer[0].1.len()),
        "{}",
        answer[0].1.len()
    );
    assert!(answer[1].1.len() < 400, "{}", answer[1].1.len());
    // The server may send data at once, in the same round trip.
    assert!(server.data.is_some() && server.session.is_handshaking());
}

//= spec/02-handshake.md#tls
//= type=test
//# A server MUST NOT send session tickets.
#[test]
fn nothing_is_sent_after_the_handshake() {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    drive(&mut client, &mut server).unwrap();
    assert!(client.flight().is_empty() && server.flight().is_empty());
}

//= spec/02-handshake.md#tls
//= type=test
//# An endpoint MUST support the key exchanges X25519MLKEM768 and X25519, and SHOULD prefer the
//# first.
#[test]
fn hybrid_exchange_is_used_by_default() {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    drive(&mut client, &mut server).unwrap();
    for peer in [&client, &server] {
        let group = peer.session.tls.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
    }
}

//= spec/02-handshake.md#tls
//= type=test
//# An endpoint SHOULD prefer AES-128-GCM where the processor has instructions for it and
//# ChaCha20-Poly1305 where it has not.
#[test]
fn cipher_follows_the_processor() {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    drive(&mut client, &mut server).unwrap();
    let suite = client
        .session
        .tls
        .negotiated_cipher_suite()
        .unwrap()
        .suite();
    let wanted = if has_aes() {
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256
    } else {
        rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    };
    assert_eq!(suite, wanted);
}

//= spec/02-handshake.md#peer-keys
//= type=test
//# An endpoint MUST ask its own policy whether the proven key is trusted, and MUST end the
//# handshake if it is not.
#[test]
fn client_refuses_a_server_with_another_key_in_its_own_words() {
    let known = identity(9).public_key();
    let config = ClientConfig::new(identity(1), Trust::only(known), SERVICE);
    let (mut client, mut server) = peers(&config, &server_config());

    let (who, error) = drive(&mut client, &mut server).unwrap_err();
    assert_eq!(who, "client");
    let words = format!("{} is not the key I know", identity(2).public_key());
    assert_eq!(error, SessionError::Rejected(words.clone()));
    assert_eq!(
        ConnectionError::from(error),
        ConnectionError::PeerRejected(words)
    );
    assert_eq!(client.session.peer(), None);
}

//= spec/02-handshake.md#peer-keys
//= type=test
//# An endpoint that refuses a key MUST close with the alert access_denied and MUST NOT tell the
//# peer more than that.
#[test]
fn server_refuses_an_unknown_client_with_access_denied() {
    let trust = Trust::only(identity(9).public_key());
    let config = ServerConfig::new(identity(2), trust.clone(), &[SERVICE]);
    let (mut client, mut server) = peers(&client_config(), &config);

    let (who, error) = drive(&mut client, &mut server).unwrap_err();
    assert_eq!(who, "server");
    assert!(matches!(error, SessionError::Rejected(_)));
    assert_eq!(code(&error), 0x100 | 49);
    assert_eq!(server.session.peer(), None);
    assert_eq!(*trust.asked.lock().unwrap(), [identity(1).public_key()]);
}

#[test]
fn verifier_is_asked_once() {
    let trust = Trust::any();
    let config = ClientConfig::new(identity(1), trust.clone(), SERVICE);
    let (mut client, mut server) = peers(&config, &server_config());
    drive(&mut client, &mut server).unwrap();
    assert_eq!(*trust.asked.lock().unwrap(), [identity(2).public_key()]);
}

/// A client that shows a key it does not hold.
fn impostor(verifier: Arc<dyn PeerVerifier>) -> Session {
    let mut crypto = ClientCrypto::new(&ClientConfig::new(identity(1), verifier, SERVICE));
    let spki = CertificateDer::from(identity(7).spki().as_ref().to_vec());
    let stolen = CertifiedKey::new(vec![spki], identity(1).signer());
    let tls = Arc::get_mut(&mut crypto.tls).unwrap();
    tls.client_auth_cert_resolver =
        Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(stolen)));
    Session::client(&crypto, Vec::new()).unwrap()
}

//= spec/02-handshake.md#peer-keys
//= type=test
//# An endpoint MUST verify the signature of the peer's CertificateVerify message before it asks
//# whether the key is trusted.
#[test]
fn verifier_never_hears_of_a_key_its_owner_did_not_sign_with() {
    let trust = Trust::only(identity(7).public_key());
    let config = ServerConfig::new(identity(2), trust.clone(), &[SERVICE]);
    let server = Session::server(&ServerCrypto::new(&config), Vec::new()).unwrap();
    let (mut client, mut server) = (Peer::new(impostor(Trust::any())), Peer::new(server));

    let (who, error) = drive(&mut client, &mut server).unwrap_err();
    assert_eq!((who, code(&error)), ("server", 0x100 | 51));
    assert!(trust.asked.lock().unwrap().is_empty());
}

//= spec/02-handshake.md#peer-keys
//= type=test
//# A server MUST ask for the client's key, and MUST end the handshake of a client that
//# shows none.
#[test]
fn client_without_a_key_is_refused() {
    let mut crypto = ClientCrypto::new(&client_config());
    let tls = Arc::get_mut(&mut crypto.tls).unwrap();
    tls.client_auth_cert_resolver = Arc::new(NoKey);
    let client = Session::client(&crypto, Vec::new()).unwrap();
    let server = Session::server(&ServerCrypto::new(&server_config()), Vec::new()).unwrap();

    let (who, error) = drive(&mut Peer::new(client), &mut Peer::new(server)).unwrap_err();
    assert_eq!((who, code(&error)), ("server", 0x100 | 116));
}

/// Has nothing to show, but speaks of raw keys.
#[derive(Debug)]
struct NoKey;

impl rustls::client::ResolvesClientCert for NoKey {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

//= spec/02-handshake.md#service
//= type=test
//# A server MUST end the handshake with the alert no_application_protocol when it offers none of
//# the client's services.
#[test]
fn service_the_server_does_not_offer_is_refused() {
    let config = ClientConfig::new(identity(1), Trust::any(), "rpp-nothing/1");
    let (mut client, mut server) = peers(&config, &server_config());
    let (who, error) = drive(&mut client, &mut server).unwrap_err();
    assert_eq!((who, code(&error)), ("server", 0x100 | 120));
    let SessionError::Transport(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.reason, "the server does not offer this service");
}

#[test]
fn server_that_offers_nothing_serves_nobody() {
    let config = ServerConfig::new(identity(2), Trust::any(), &[]);
    let (mut client, mut server) = peers(&client_config(), &config);
    let (who, error) = drive(&mut client, &mut server).unwrap_err();
    assert_eq!((who, code(&error)), ("server", 0x100 | 120));
}

//= spec/02-handshake.md#service
//= type=test
//# A client MUST offer at least one service name.
#[test]
fn service_name_that_cannot_be_sent_is_refused_before_sending() {
    for name in [String::new(), "x".repeat(256)] {
        let config = ClientConfig::new(identity(1), Trust::any(), &name);
        let error = Session::client(&ClientCrypto::new(&config), Vec::new()).unwrap_err();
        assert_eq!(error.code(), TransportCode::INTERNAL_ERROR);
    }
}

//= spec/02-handshake.md#levels
//= type=test
//# An endpoint MUST NOT feed TLS handshake bytes of another level than the handshake is at, nor any
//# after it is complete.
#[test]
fn handshake_bytes_at_the_wrong_level_are_refused() {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    let hello = client.flight();
    let error = server
        .session
        .read(Level::Handshake, &hello[0].1)
        .unwrap_err();
    assert_eq!(error.code(), TransportCode::PROTOCOL_VIOLATION);

    server.session.read(Level::Initial, &hello[0].1).unwrap();
    let answer = server.flight();
    client.session.read(Level::Initial, &answer[0].1).unwrap();
    assert!(client.flight().is_empty());
    assert_eq!(client.session.reading(), Level::Handshake);
    let error = client
        .session
        .read(Level::Initial, &answer[1].1)
        .unwrap_err();
    assert_eq!(error.code(), TransportCode::PROTOCOL_VIOLATION);
}

//= spec/02-handshake.md#levels
//= type=test
//# An endpoint MUST NOT feed TLS handshake bytes of another level than the handshake is at, nor any
//# after it is complete.
#[test]
fn handshake_bytes_after_the_end_are_refused() {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    drive(&mut client, &mut server).unwrap();
    for level in [Level::Initial, Level::Handshake, Level::Data] {
        let error = client.session.read(level, b"\x04\0\0\0").unwrap_err();
        assert_eq!(error.code(), TransportCode::PROTOCOL_VIOLATION);
    }
}

#[test]
fn handshake_fed_byte_by_byte_completes() {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    while client.session.is_handshaking() || server.session.is_handshaking() {
        for (level, bytes) in client.flight() {
            for byte in bytes {
                server.session.read(level, &[byte]).unwrap();
            }
        }
        for (level, bytes) in server.flight() {
            for byte in bytes {
                client.session.read(level, &[byte]).unwrap();
            }
            for (level, bytes) in client.flight() {
                server.session.read(level, &bytes).unwrap();
            }
        }
    }
    assert_eq!(server.session.peer(), Some(identity(1).public_key()));
}

#[test]
fn damaged_handshake_bytes_end_in_an_error_and_never_in_a_peer() {
    let whole = {
        let (mut client, _) = peers(&client_config(), &server_config());
        client.flight().remove(0).1
    };
    for at in (0..whole.len()).step_by(7) {
        let mut hello = whole.clone();
        hello[at] ^= 0x10;
        let (_, mut server) = peers(&client_config(), &server_config());
        // Some fields are free to change (the random), but then nobody can finish.
        if let Err(error) = server.session.read(Level::Initial, &hello) {
            assert!(matches!(error, SessionError::Transport(_)), "{error:?}");
        }
        assert!(server.session.is_handshaking());
        assert_eq!(server.session.peer(), None);
    }
}

#[test]
fn server_hello_altered_on_the_way_is_noticed() {
    let (mut client, mut server) = peers(&client_config(), &server_config());
    for (level, bytes) in client.flight() {
        server.session.read(level, &bytes).unwrap();
    }
    let mut failed = false;
    for (level, mut bytes) in server.flight() {
        if level == Level::Handshake {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        failed |= client.session.read(level, &bytes).is_err();
        client.flight();
    }
    assert!(failed && client.session.peer().is_none());
}

//= spec/02-handshake.md#tls
//= type=test
//# An endpoint MUST support TLS_AES_128_GCM_SHA256 and TLS_CHACHA20_POLY1305_SHA256.
#[test]
fn peer_without_aes_is_met_with_chacha20() {
    let mut crypto = ClientCrypto::new(&client_config());
    let tls = Arc::get_mut(&mut crypto.tls).unwrap();
    let only = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..provider()
    };
    *tls = rustls::ClientConfig::builder_with_details(Arc::new(only), Arc::new(NoClock))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(RawKeyVerifier::new(
            Trust::any(),
            provider().signature_verification_algorithms,
        )))
        .with_client_cert_resolver(Arc::clone(&tls.client_auth_cert_resolver));
    tls.alpn_protocols = vec![SERVICE.as_bytes().to_vec()];
    let client = Session::client(&crypto, Vec::new()).unwrap();
    let server = Session::server(&ServerCrypto::new(&server_config()), Vec::new()).unwrap();
    let (mut client, mut server) = (Peer::new(client), Peer::new(server));

    drive(&mut client, &mut server).unwrap();
    let suite = server.session.tls.negotiated_cipher_suite().unwrap();
    assert_eq!(
        suite.suite(),
        rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    );
    let group = server.session.tls.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519);
}

//= spec/02-handshake.md#parameters
//= type=test
//# An endpoint MUST end the handshake with the alert missing_extension when the peer sends none.
#[test]
fn tls_without_quic_parameters_is_refused() {
    // A ClientHello of plain TLS: the same but for the extension.
    let crypto = ClientCrypto::new(&client_config());
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4])));
    let mut plain = rustls::ClientConnection::new(Arc::clone(&crypto.tls), name).unwrap();
    let mut record = Vec::new();
    plain.write_tls(&mut record).unwrap();

    let mut server = Session::server(&ServerCrypto::new(&server_config()), Vec::new()).unwrap();
    // Five bytes of record header precede the message.
    let error = server.read(Level::Initial, &record[5..]).unwrap_err();
    assert_eq!(code(&error), 0x100 | 109);
}

//= spec/02-handshake.md#tls
//= type=test
//# An endpoint MUST NOT negotiate any version of TLS but 1.3.
#[test]
fn no_other_version_of_tls_is_offered_or_taken() {
    // supported_versions, with TLS 1.3 alone.
    const VERSIONS: [u8; 7] = [0, 43, 0, 3, 2, 3, 4];
    let (mut client, mut server) = peers(&client_config(), &server_config());
    let mut hello = client.flight().remove(0).1;
    let at = hello.windows(7).position(|bytes| bytes == VERSIONS);
    let last = at.expect("the client offers TLS 1.3 and nothing else") + 6;
    hello[last] = 3;
    let refused = server.session.read(Level::Initial, &hello);
    // The alert protocol_version.
    assert_eq!(code(&refused.unwrap_err()), 0x100 + 70);
}
