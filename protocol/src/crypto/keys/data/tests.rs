//! Data packets through their phases: updates by either side, reordering, limits.

use super::*;
use crate::{
    crypto::testing::data_keys,
    error::TransportCode,
    wire::{Header, id::ConnectionId, packet_number::Truncated},
};

const DCID: ConnectionId = ConnectionId::new([9; 8]);
const PN_OFFSET: usize = 1 + ConnectionId::LEN;
const PATH: PathId = PathId::INITIAL;

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary origin of virtual time"
)]
fn epoch() -> Instant {
    Instant::now()
}

fn seal_on(keys: &mut DataKeys, path: PathId, pn: u64) -> Result<Vec<u8>, SealError> {
    let mut buffer = vec![0xee; 3];
    let header = Header::Short {
        dcid: DCID,
        key_phase: false,
        number: Truncated::with_len(pn, 4),
    };
    let layout = header.encode(&mut buffer);
    buffer.extend_from_slice(b"some payload");
    keys.seal(path, pn, &mut buffer, layout)?;
    Ok(buffer.split_off(3))
}

fn seal(keys: &mut DataKeys, pn: u64) -> Vec<u8> {
    seal_on(keys, PATH, pn).unwrap()
}

fn open_on(keys: &mut DataKeys, path: PathId, pn: u64, packet: &[u8]) -> Result<Opened, OpenError> {
    let mut packet = packet.to_vec();
    let seen = keys.unprotect_header(&mut packet, PN_OFFSET).unwrap();
    let (header, payload) = packet.split_at_mut(PN_OFFSET + seen.pn_len);
    let opened = keys.open(path, pn, header, payload)?;
    assert_eq!(&payload[..opened.len], b"some payload");
    assert_eq!(u64::from(seen.truncated), pn);
    Ok(opened)
}

fn open(keys: &mut DataKeys, pn: u64, packet: &[u8]) -> Result<Opened, OpenError> {
    open_on(keys, PATH, pn, packet)
}

/// Client and server that have exchanged and acknowledged one packet each, number 0.
fn connected() -> (DataKeys, DataKeys) {
    let (mut client, mut server) = data_keys();
    let packet = seal(&mut client, 0);
    open(&mut server, 0, &packet).unwrap();
    let packet = seal(&mut server, 0);
    open(&mut client, 0, &packet).unwrap();
    client.on_ack(PATH, 0);
    server.on_ack(PATH, 0);
    (client, server)
}

/// Lets `keys` update: a minute in use.
fn update(keys: &mut DataKeys) {
    let start = epoch();
    assert!(!keys.update_if_due(start));
    assert!(keys.update_if_due(start + Duration::from_secs(60)));
}

#[test]
fn packets_open_at_the_other_side_both_ways() {
    let (mut client, mut server) = data_keys();
    for pn in [0, 1, 77, 0xffff_fffe] {
        let packet = seal(&mut client, pn);
        let opened = open(&mut server, pn, &packet).unwrap();
        assert!(!opened.is_first_of_phase);
        let packet = seal(&mut server, pn);
        open(&mut client, pn, &packet).unwrap();
    }
    assert_eq!((client.updates(), client.failed), (0, 0));
}

//= spec/02-handshake.md#sealing
//= type=test
//# The nonce of a data packet MUST be the packet initialisation vector combined by exclusive or
//# with the path id in its first four bytes and the packet number in its last eight.
#[test]
fn same_number_on_two_paths_is_sealed_differently_and_opens_only_there() {
    let (mut client, mut server) = data_keys();
    let (one, two) = (PathId(1), PathId(2));
    let on_one = seal_on(&mut client, one, 5).unwrap();
    let on_two = seal_on(&mut client, two, 5).unwrap();
    assert_ne!(on_one, on_two);
    assert_eq!(
        open_on(&mut server, two, 5, &on_one),
        Err(OpenError::Failed)
    );
    open_on(&mut server, one, 5, &on_one).unwrap();
    open_on(&mut server, two, 5, &on_two).unwrap();
}

#[test]
fn every_flipped_bit_is_noticed_and_counted() {
    let (mut client, mut server) = data_keys();
    let packet = seal(&mut client, 7);
    let bits = packet.len() * 8;
    for bit in 0..bits {
        let mut damaged = packet.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let seen = server.unprotect_header(&mut damaged, PN_OFFSET).unwrap();
        let (header, payload) = damaged.split_at_mut(PN_OFFSET + seen.pn_len);
        let result = server.open(PATH, 7, header, payload);
        assert_eq!(result, Err(OpenError::Failed), "bit {bit}");
    }
    assert_eq!(server.failed, bits as u64);
    open(&mut server, 7, &packet).unwrap();
}

//= spec/02-handshake.md#key-update
//= type=test
//# An endpoint MUST update its keys once they have sealed 2^22 packets or have been in use for 60
//# seconds, as soon as it is allowed to.
#[test]
fn update_falls_due_by_age_and_by_count() {
    let (mut client, _) = connected();
    let start = epoch();
    assert!(!client.update_if_due(start));
    assert!(!client.update_if_due(start + Duration::from_millis(59_999)));
    assert!(client.update_if_due(start + Duration::from_secs(60)));

    let (mut client, _) = connected();
    client.sealed = (1 << 22) - 1;
    assert!(!client.update_if_due(start));
    client.sealed += 1;
    assert!(client.update_if_due(start));
    assert_eq!(client.updates(), 1);
}

#[test]
fn keys_that_sealed_nothing_do_not_age() {
    let (mut client, _) = data_keys();
    let start = epoch();
    assert!(!client.update_if_due(start));
    assert!(!client.update_if_due(start + Duration::from_secs(3600)));
    assert_eq!(client.since, None);
}

//= spec/02-handshake.md#key-update
//= type=test
//# An endpoint MUST seal with the next keys as soon as a packet of the peer has opened with the
//# next keys.
#[test]
fn peer_follows_an_update_and_traffic_goes_on() {
    let (mut client, mut server) = connected();
    update(&mut client);
    let packet = seal(&mut client, 1);
    let opened = open(&mut server, 1, &packet).unwrap();
    assert!(opened.is_first_of_phase);
    assert_eq!(server.updates(), 1);

    let packet = seal(&mut server, 1);
    let opened = open(&mut client, 1, &packet).unwrap();
    assert!(opened.is_first_of_phase, "the answer confirms the update");
    let packet = seal(&mut server, 2);
    assert!(!open(&mut client, 2, &packet).unwrap().is_first_of_phase);
}

//= spec/02-handshake.md#key-update
//= type=test
//# An endpoint MUST NOT update keys before the peer has acknowledged a packet sealed with the
//# present ones, nor while it still keeps the previous ones.
#[test]
fn next_update_waits_for_the_acknowledgement_and_the_old_keys() {
    let (mut client, mut server) = connected();
    update(&mut client);
    let packet = seal(&mut client, 1);
    open(&mut server, 1, &packet).unwrap();
    let packet = seal(&mut server, 1);
    open(&mut client, 1, &packet).unwrap();

    let start = epoch();
    let late = start + Duration::from_secs(120);
    assert!(!client.update_if_due(start));
    client.on_ack(PATH, 0);
    client.drop_previous_at(start + Duration::from_secs(1));
    client.on_timeout(late);
    assert!(
        !client.update_if_due(late),
        "nothing of this phase acknowledged"
    );
    client.on_ack(PATH, 1);
    client.previous = Some(client.secrets.clone().next_packet_keys().remote);
    assert!(!client.update_if_due(late), "old keys still there");
    client.previous = None;
    assert!(client.update_if_due(late));
}

//= spec/02-handshake.md#key-update
//= type=test
//# A receiver MUST take a packet of the other phase for one of the previous phase when its number
//# is below the first that opened in the present phase on the same path, and otherwise for one of
//# the next phase.
#[test]
fn packets_overtaken_by_an_update_still_open() {
    let (mut client, mut server) = connected();
    let overtaken: Vec<_> = (1..5).map(|pn| (pn, seal(&mut client, pn))).collect();
    update(&mut client);
    let packet = seal(&mut client, 5);
    open(&mut server, 5, &packet).unwrap();
    for (pn, packet) in &overtaken {
        assert!(!open(&mut server, *pn, packet).unwrap().is_first_of_phase);
    }
    // What the server sent before it knew opens at the client.
    assert_eq!((server.failed, server.updates()), (0, 1));
}

//= spec/02-handshake.md#key-update
//= type=test
//# While no packet of the present phase has opened on a path, and the previous keys are still kept,
//# a packet of the other phase is taken for one of the previous phase.
#[test]
fn initiator_opens_what_the_peer_sent_before_it_followed() {
    let (mut client, mut server) = connected();
    let before = seal(&mut server, 1);
    let on_other_path = seal_on(&mut server, PathId(3), 9).unwrap();
    update(&mut client);
    open(&mut client, 1, &before).unwrap();
    let packet = seal(&mut client, 1);
    open(&mut server, 1, &packet).unwrap();
    let packet = seal(&mut server, 2);
    assert!(open(&mut client, 2, &packet).unwrap().is_first_of_phase);
    open_on(&mut client, PathId(3), 9, &on_other_path).unwrap();
    assert_eq!(client.updates(), 1);
}

#[test]
fn both_sides_updating_at_once_meet_in_the_same_phase() {
    let (mut client, mut server) = connected();
    update(&mut client);
    update(&mut server);
    let (one, two) = (seal(&mut client, 1), seal(&mut server, 1));
    assert!(open(&mut server, 1, &one).unwrap().is_first_of_phase);
    assert!(open(&mut client, 1, &two).unwrap().is_first_of_phase);
    assert_eq!((client.updates(), server.updates()), (1, 1));
}

//= spec/02-handshake.md#key-update
//= type=test
//# An endpoint MUST keep the previous keys for opening until three probe timeouts after the first
//# packet opened with the present ones, and MUST drop them then.
#[test]
fn previous_keys_go_at_the_time_given_and_late_packets_are_not_counted() {
    let (mut client, mut server) = connected();
    let late = seal(&mut client, 1);
    let overtaken = seal(&mut client, 2);
    update(&mut client);
    let packet = seal(&mut client, 3);
    open(&mut server, 3, &packet).unwrap();
    let at = epoch() + Duration::from_millis(900);
    assert_eq!(server.due_at(), None);
    server.drop_previous_at(at);
    assert_eq!(server.due_at(), Some(at));

    server.on_timeout(at - Duration::from_millis(1));
    open(&mut server, 2, &overtaken).unwrap();
    server.on_timeout(at);
    assert_eq!(server.due_at(), None);
    assert_eq!(open(&mut server, 1, &late), Err(OpenError::Failed));
    assert_eq!(server.failed, 0);
    assert_eq!(server.updates(), 1, "a late packet is no update");
}

//= spec/02-handshake.md#key-update
//= type=test
//# An endpoint MUST close with KEY_UPDATE_ERROR when the peer updates keys while no packet has been
//# sent to it under the keys it leaves.
#[test]
fn second_update_before_the_first_was_answered_is_an_error() {
    let (mut client, mut server) = connected();
    for pn in 1..3 {
        client.rotate();
        let packet = seal(&mut client, pn);
        let result = open(&mut server, pn, &packet);
        if pn == 1 {
            assert!(result.is_ok());
        } else {
            let error = result.unwrap_err();
            assert_eq!(error, OpenError::EarlyUpdate);
            let code = error.fatal().map(|error| error.code);
            assert_eq!(code, Some(TransportCode::KEY_UPDATE_ERROR));
        }
    }
}

//= spec/02-handshake.md#header-protection
//= type=test
//# A receiver MUST NOT act on anything it read from a protected header before the packet has
//# opened.
#[test]
fn forged_phase_bit_changes_nothing() {
    let (mut client, mut server) = connected();
    let mut packet = seal(&mut client, 1);
    let seen = server.unprotect_header(&mut packet, PN_OFFSET).unwrap();
    packet[0] ^= KEY_PHASE;
    let (header, payload) = packet.split_at_mut(PN_OFFSET + seen.pn_len);
    assert_eq!(
        server.open(PATH, 1, header, payload),
        Err(OpenError::Failed)
    );
    assert_eq!((server.updates(), server.failed), (0, 1));
}

/// The limits at one hundredth of a thousandth, under reordering and damage.
#[test]
fn many_updates_under_loss_and_reordering_lose_nothing_that_arrives() {
    let (mut client, mut server) = connected();
    client.limits.update_packets = 64;
    server.limits.update_packets = 97;
    let now = epoch();
    let mut held: Option<(u64, Vec<u8>)> = None;
    for pn in 1..5000 {
        client.update_if_due(now);
        server.update_if_due(now);
        let packet = seal(&mut client, pn);
        let answer = seal(&mut server, pn);
        // Every eleventh packet is lost, every seventh overtaken by the next.
        if pn % 11 != 0 {
            if pn % 7 == 0 {
                held = Some((pn, packet));
            } else {
                accept(&mut server, now, pn, &packet);
                client.on_ack(PATH, pn);
            }
        }
        accept(&mut client, now, pn, &answer);
        server.on_ack(PATH, pn);
        if pn % 7 == 1
            && let Some((pn, packet)) = held.take()
        {
            accept(&mut server, now, pn, &packet);
        }
    }
    assert!(client.updates() > 60, "{}", client.updates());
    assert!(client.updates().abs_diff(server.updates()) <= 1);
    assert_eq!((client.failed, server.failed), (0, 0));
}

/// Opens `packet`, which must succeed, and drops old keys one packet later.
fn accept(keys: &mut DataKeys, now: Instant, pn: u64, packet: &[u8]) {
    let opened = open(keys, pn, packet).unwrap();
    if opened.is_first_of_phase {
        keys.drop_previous_at(now);
    } else if !pn.is_multiple_of(7) {
        keys.on_timeout(now);
    }
}

//= spec/02-handshake.md#limits
//= type=test
//# An endpoint MUST count the packets that fail to open over all keys of a connection, and MUST
//# close with AEAD_LIMIT_REACHED when they exceed the cipher's integrity limit.
#[test]
fn failures_beyond_the_integrity_limit_end_the_connection() {
    let (mut client, mut server) = connected();
    assert!(server.limits.integrity >= 1 << 36);
    server.limits.integrity = 3;
    let packet = seal(&mut client, 1);
    update(&mut client);
    let mut damaged = [seal(&mut client, 2), packet];
    for (at, packet) in damaged.iter_mut().enumerate() {
        *packet.last_mut().unwrap() ^= 1;
        assert_eq!(
            open(&mut server, 2 - at as u64, packet),
            Err(OpenError::Failed)
        );
    }
    assert_eq!(open(&mut server, 1, &damaged[1]), Err(OpenError::Failed));
    let error = open(&mut server, 1, &damaged[1]).unwrap_err();
    assert_eq!(error, OpenError::LimitReached);
    let code = error.fatal().map(|error| error.code);
    assert_eq!(code, Some(TransportCode::AEAD_LIMIT_REACHED));
}

//= spec/02-handshake.md#limits
//= type=test
//# An endpoint MUST NOT seal more packets with the same keys than the cipher's confidentiality
//# limit, and MUST close with AEAD_LIMIT_REACHED when it cannot update.
#[test]
fn keys_at_the_confidentiality_limit_seal_no_more() {
    let (mut client, _) = data_keys();
    client.limits.confidentiality = 2;
    seal(&mut client, 0);
    seal(&mut client, 1);
    assert_eq!(seal_on(&mut client, PATH, 2), Err(SealError::LimitReached));
    client.rotate();
    seal(&mut client, 2);
}

#[test]
fn limits_leave_room_between_update_and_confidentiality() {
    let (client, _) = data_keys();
    assert!(client.limits.update_packets * 2 <= client.limits.confidentiality);
}
