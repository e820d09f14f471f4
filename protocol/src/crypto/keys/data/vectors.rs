//! Data packets of `spec/vectors/sealing.json`: sealed on several paths, and after a key update.
//! Initial packets and Retry are tested beside their own code.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk},
};
use serde_json::Value;

use super::*;
use crate::{
    crypto::{
        keys::initial_keys,
        testing::{data_keys, hex, sealing_vectors},
    },
    units::Side,
    wire::{Header, id::ConnectionId, packet_number::Truncated},
};

/// Data keys whose first phase is that of the vectors: they have the client's Initial secret.
fn known_keys(vectors: &Value, side: Side) -> DataKeys {
    let id = hex(&vectors["initial"], "original_id");
    let level = initial_keys(&ConnectionId::new(id.try_into().unwrap()), side);
    DataKeys {
        header: level.header,
        current: level.packet,
        ..data_keys().0
    }
}

fn short_header(packet: &Value) -> Header {
    let header = hex(packet, "header");
    let number = &header[1 + ConnectionId::LEN..];
    Header::Short {
        dcid: ConnectionId::new(header[1..=ConnectionId::LEN].try_into().unwrap()),
        key_phase: false,
        number: Truncated::with_len(packet["number"].as_u64().unwrap(), number.len()),
    }
}

#[test]
fn packets_of_several_paths_are_those_of_the_vectors() {
    let vectors = sealing_vectors();
    let (mut client, mut server) = (
        known_keys(&vectors, Side::Client),
        known_keys(&vectors, Side::Server),
    );
    let packets = vectors["data"]["packets"].as_array().unwrap();
    assert!(packets.len() > 2);
    for case in packets {
        let path = PathId(case["path"].as_u64().unwrap().try_into().unwrap());
        let number = case["number"].as_u64().unwrap();
        let mut packet = Vec::new();
        let layout = short_header(case).encode(&mut packet);
        assert_eq!(packet, hex(case, "header"), "{case}");
        packet.extend_from_slice(&hex(case, "plaintext"));
        client.seal(path, number, &mut packet, layout).unwrap();
        assert_eq!(packet, hex(case, "sealed"), "{case}");

        let seen = server
            .unprotect_header(&mut packet, layout.pn_offset)
            .unwrap();
        let (header, payload) = packet.split_at_mut(layout.pn_offset + seen.pn_len);
        let opened = server.open(path, number, header, payload).unwrap();
        assert_eq!(payload[..opened.len], hex(case, "plaintext"), "{case}");
    }
}

/// HKDF-Expand-Label of RFC 8446 section 7.1 with an empty context.
fn expand_label(secret: &[u8], label: &str, len: usize) -> Vec<u8> {
    struct Length(usize);
    impl aws_lc_rs::hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let label = [b"tls13 ", label.as_bytes()].concat();
    let len_bytes = u16::try_from(len).unwrap().to_be_bytes();
    let label_len = [u8::try_from(label.len()).unwrap()];
    let info = [&len_bytes[..], &label_len, &label, &[0]];
    let prk = Prk::new_less_safe(HKDF_SHA256, secret);
    let mut out = vec![0; len];
    prk.expand(&info, Length(len))
        .and_then(|okm| okm.fill(&mut out))
        .unwrap();
    out
}

#[test]
fn the_keys_of_the_next_phase_are_those_of_the_vectors() {
    let vectors = sealing_vectors();
    let update = &vectors["key_update"];
    let next = expand_label(&hex(update, "secret"), "quic ku", 32);
    assert_eq!(next, hex(update, "next_secret"));
    let (key, iv) = (
        expand_label(&next, "quic key", 16),
        expand_label(&next, "quic iv", 12),
    );
    assert_eq!((&key, &iv), (&hex(update, "key"), &hex(update, "iv")));

    // Header protection stays that of the first phase, which the keys of the vectors have.
    let case = &update["packet"];
    let mut packet = hex(case, "sealed");
    let server = known_keys(&vectors, Side::Server);
    let pn_offset = 1 + ConnectionId::LEN;
    let seen = server.unprotect_header(&mut packet, pn_offset).unwrap();
    let payload = packet.split_off(pn_offset + seen.pn_len);
    assert_eq!(packet, hex(case, "header"));
    let mut nonce: [u8; 12] = iv.try_into().unwrap();
    for (byte, number) in nonce[4..]
        .iter_mut()
        .zip(u64::from(seen.truncated).to_be_bytes())
    {
        *byte ^= number;
    }
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
    let mut opened = payload;
    let plaintext = key
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&packet),
            &mut opened,
        )
        .unwrap();
    assert_eq!(plaintext, hex(case, "plaintext"));
}
