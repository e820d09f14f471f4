//! Addresses that are not proven: what somebody else can make a server send there.

#[expect(dead_code, reason = "each test binary uses its part of the harness")]
mod pair;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use pair::{
    Copies, Fate, Pair, Setup,
    transfer::{Receiver, Sender, pattern},
};
use rp_protocol::{
    config::EndpointConfig,
    engine::Event,
    units::{CloseCode, Dir},
};

const MS: Duration = Duration::from_millis(1);
/// One way on the harness's wire.
const DELAY: Duration = Duration::from_millis(25);
const RTT: Duration = Duration::from_millis(50);
const LEN: usize = 2_000_000;

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Where a victim may be: in the client's /24, at its own address, and in other networks.
fn victims() -> [SocketAddr; 3] {
    [
        address("192.0.2.77:9"),
        address("192.0.2.2:9"),
        address("203.0.113.66:6666"),
    ]
}

/// No address but those the client was at got more than three times what came from it.
fn assert_no_amplification(pair: &Pair, own: &[SocketAddr], case: &str) {
    for (to, &sent) in &pair.bytes_to {
        let came = pair.bytes_from.get(to).copied().unwrap_or(0);
        assert!(
            own.contains(to) || sent <= 3 * came,
            "{case}: {to} sent {came} bytes and was sent {sent}"
        );
    }
}

fn assert_open(pair: &Pair, case: &str) {
    let closed = |event: &Event| matches!(event, Event::Closed(_));
    assert!(
        !pair.saw(false, closed) && !pair.saw(true, closed),
        "{case}"
    );
}

/// Copies of the datagrams in `counts`, in the name of `victims` in turn, that arrive `early` before the original.
fn racing(
    counts: impl Fn(usize) -> bool + 'static,
    victims: Vec<SocketAddr>,
    early: Duration,
) -> Copies {
    Box::new(move |count, _| {
        if counts(count) {
            vec![(victims[count % victims.len()], DELAY - early)]
        } else {
            Vec::new()
        }
    })
}

//= spec/02-handshake.md#amplification
//= type=test
//# Before the peer's address is validated, an endpoint MUST NOT send more than three times the
//# bytes it received from that address.
#[test]
fn raced_copies_bring_a_victim_at_most_three_times_what_was_sent() {
    let [near, same, far] = victims();
    for down in [true, false] {
        for victims in [
            vec![near],
            vec![same],
            vec![far],
            vec![near, far],
            vec![far, same],
        ] {
            for every in [1, 2, 50] {
                let case = format!("{victims:?}, every {every}, down: {down}");
                let mut pair = Pair::new();
                pair.connect();
                pair.run(RTT * 4);
                let home = pair.client.address;
                let from = pair.client.sent_datagrams;
                let counts = move |count| count >= from && count % every == 0;
                pair.copies = Some(racing(counts, victims.clone(), MS));
                pair.stream(down, LEN, |_, _| {});
                pair.run(Duration::from_secs(5));
                assert_no_amplification(&pair, &[home], &case);
                assert_open(&pair, &case);
                assert_eq!(pair.server().remote_address(), home, "{case}");
            }
        }
    }
}

/// The whole original is swallowed and comes in the victim's name instead, as from a router on the way.
#[test]
fn two_spoofed_packets_leave_the_proven_address_in_use() {
    let [near, same, far] = victims();
    for (first, second) in [(near, far), (far, near), (same, near), (far, same)] {
        for len in [20, 1000] {
            let mut pair = Pair::new();
            pair.connect();
            pair.run(RTT * 4);
            let home = pair.client.address;
            let next = pair.client.sent_datagrams;
            let between = move |count| (next..next + 2).contains(&count);
            pair.client.script = Box::new(move |count, _| match between(count) {
                true => Fate::Drop,
                false => Fate::Deliver,
            });
            pair.copies = Some(Box::new(move |count, _| {
                let to = if count == next { first } else { second };
                between(count).then_some((to, DELAY)).into_iter().collect()
            }));
            // The server has plenty to send from here on.
            let id = pair.server().open(Dir::Uni).expect("allowed");
            let mut sender = Sender::new(id, LEN);
            for _ in 0..2 {
                let up = pair.client().open(Dir::Uni).expect("allowed");
                pair.client()
                    .write(up, &pattern(len))
                    .expect("there is room");
                pair.run(MS);
            }
            let mut receiver = Receiver::default();
            pair.run(DELAY);
            let begun = pair.now;
            pair.drive_while(|pair| {
                sender.pump(pair.server());
                receiver.pump(pair.client(), id);
                !receiver.done
            });
            assert_eq!(receiver.data, pattern(LEN));
            assert!(pair.now - begun < Duration::from_secs(1), "no stall");
            pair.run(Duration::from_secs(10));
            assert_no_amplification(&pair, &[home], "two spoofed packets");
            assert_eq!(pair.server().remote_address(), home);
        }
    }
}

#[test]
fn delayed_copies_move_nothing() {
    let mut pair = Pair::new();
    pair.connect();
    let home = pair.client.address;
    let [near, _, far] = victims();
    pair.copies = Some(Box::new(move |_, _| {
        vec![(near, DELAY + MS), (far, 3 * RTT)]
    }));
    pair.stream(true, LEN, |_, _| {});
    pair.run(Duration::from_secs(5));
    for victim in [near, far] {
        assert_eq!(
            pair.bytes_to.get(&victim),
            None,
            "nothing newest came from there"
        );
    }
    assert_eq!(pair.server().remote_address(), home);
}

#[test]
fn copies_during_the_handshake_bring_a_victim_at_most_three_times_what_was_sent() {
    for retry in [0, 256] {
        for early in [MS, Duration::ZERO, 20 * MS] {
            let endpoint = EndpointConfig::default().retry_above(retry);
            let setup = Setup {
                endpoint,
                ..Setup::default()
            };
            let mut pair = setup.build();
            let home = pair.client.address;
            let [near, same, far] = victims();
            pair.copies = Some(racing(|_| true, vec![near, same, far], early));
            pair.drive_while(|pair| pair.client().is_handshaking());
            pair.run(RTT);
            // The copies began handshakes of their own.
            let is_ours = |server: &rp_protocol::engine::Connection| !server.is_handshaking();
            let handle = pair
                .server
                .connections
                .iter()
                .find(|(_, server)| is_ours(server));
            pair.server_handle = handle.map(|(&handle, _)| handle);
            pair.stream(true, 200_000, |_, _| {});
            pair.run(Duration::from_secs(15));
            assert_no_amplification(&pair, &[home], &format!("retry {retry}, early {early:?}"));
            assert_eq!(pair.server().remote_address(), home);
        }
    }
}

/// A client that begins in a victim's name and goes on in its own: nobody proves an address for another.
#[test]
fn handshake_begun_in_anothers_name_proves_nothing() {
    let mut pair = Pair::new();
    let victim = victims()[2];
    let home = std::mem::replace(&mut pair.client.address, victim);
    pair.run(DELAY + MS);
    pair.client.address = home;
    pair.run(Duration::from_secs(12));
    assert!(!pair.client().is_handshaking(), "it began anew from there");
    assert_no_amplification(&pair, &[home], "a handshake in two names");
}

#[test]
fn garbage_for_a_connection_brings_nobody_more_than_it_sent() {
    let mut pair = Pair::new();
    pair.client.captured = Some(Vec::new());
    pair.connect();
    pair.stream(true, 100_000, |_, _| {});
    let captured = pair.client.captured.take().expect("set above");
    let [near, _, far] = victims();
    // Real ids with other bytes behind them, unknown ids, other versions, of many lengths.
    for (index, datagram) in captured.iter().enumerate() {
        let mut forged = datagram.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        pair.inject_from(near, true, forged.clone());
        forged[3] ^= 0x55;
        forged.truncate(22 + index % 80);
        pair.inject_from(far, true, forged.clone());
        forged[0] |= 0xc0;
        forged.resize(1200 + index, 0);
        pair.inject_from(far, true, forged);
    }
    let home = pair.client.address;
    pair.run(Duration::from_secs(1));
    assert!(pair.bytes_to.contains_key(&far), "some of it was answered");
    assert_no_amplification(&pair, &[home], "garbage");
    assert_open(&pair, "garbage");
}

/// A close goes where the client may be, within the limit.
#[test]
fn close_after_a_spoofed_packet_is_heard_at_home_and_amplifies_nothing() {
    for victim in victims() {
        let mut pair = Pair::new();
        pair.connect();
        pair.run(RTT * 4);
        let home = pair.client.address;
        let next = pair.client.sent_datagrams;
        pair.copies = Some(racing(move |count| count == next, vec![victim], MS));
        let id = pair.client().open(Dir::Uni).expect("allowed");
        pair.client().write(id, b"x").expect("there is room");
        pair.run(DELAY - MS / 2);
        let now = pair.now;
        let reason = Bytes::from(vec![b'r'; 500]);
        pair.server().close(now, CloseCode::from_u32(3), reason);
        pair.run(Duration::from_secs(2));
        assert!(pair.saw(false, |event| matches!(event, Event::Closed(_))));
        assert_no_amplification(&pair, &[home], "close");
    }
}

#[test]
fn single_raced_ack_does_not_slow_a_download() {
    let time = |copies: Option<Copies>| {
        let mut pair = Pair::new();
        pair.connect();
        pair.copies = copies;
        let begun = pair.now;
        pair.stream(true, LEN, |_, _| {});
        pair.now - begun
    };
    let undisturbed = time(None);
    for at in [20, 100, 200] {
        let raced = time(Some(racing(
            move |count| count == at,
            victims().to_vec(),
            MS,
        )));
        assert!(
            raced <= undisturbed + MS,
            "{raced:?} instead of {undisturbed:?}"
        );
    }
}

/// Sizes of what the server sends to a victim when one packet of `len` bytes came from there.
fn sent_for(len: usize) -> (Pair, Vec<usize>) {
    let mut pair = Pair::new();
    pair.connect();
    pair.run(RTT * 4);
    let victim = victims()[2];
    let next = pair.client.sent_datagrams;
    pair.copies = Some(racing(move |count| count == next, vec![victim], MS));
    let id = pair.client().open(Dir::Uni).expect("allowed");
    pair.client()
        .write(id, &pattern(len))
        .expect("there is room");
    pair.server.captured = Some(Vec::new());
    pair.server.script = Box::new(|_, _| Fate::Drop);
    pair.run(DELAY - MS / 2);
    let sizes = pair.server.captured.take().expect("set above");
    let sizes = sizes.iter().map(Vec::len).collect();
    (pair, sizes)
}

//= spec/07-paths.md#validation
//= type=test
//# A datagram with a PATH_CHALLENGE MUST be padded to 1200 bytes where the limit allows so many, and MUST be sent
//# without padding where it does not.
//= spec/07-paths.md#rebinding
//= type=test
//# PATH_CHALLENGE and ACK MUST be sent as soon as they fit into the limit, whether or not a full packet does.
#[test]
fn challenge_is_padded_where_the_limit_allows_it() {
    let (_, small) = sent_for(10);
    assert_eq!(small.len(), 1);
    assert!(small[0] < 60, "{small:?}");
    let (_, large) = sent_for(500);
    assert_eq!(large, [1200]);
}

//= spec/07-paths.md#rebinding
//= type=test
//# A server MUST forget all candidates when a packet that may move comes from the address in use and its number is the
//# largest of all.
#[test]
fn candidate_is_forgotten_when_the_client_is_heard_at_home() {
    let (mut pair, _) = sent_for(500);
    let victim = victims()[2];
    let id = pair.client().open(Dir::Uni).expect("allowed");
    pair.client().write(id, b"y").expect("there is room");
    pair.run(RTT);
    let sent = pair.bytes_to[&victim];
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.bytes_to[&victim], sent, "nothing was repeated");
}

//= spec/07-paths.md#rebinding
//= type=test
//# A server MUST NOT have more than three candidates; a further one takes the place of the oldest, if the challenge to that
//# one is being repeated, and else is ignored.
#[test]
fn fourth_candidate_waits_until_the_first_has_had_its_time() {
    let mut pair = Pair::new();
    pair.connect();
    // Until the search for a larger packet is over.
    pair.run(Duration::from_secs(3));
    let home = pair.client.address;
    let next = pair.client.sent_datagrams;
    let name = |last| SocketAddr::from(([203, 0, 113, last], 9));
    let last = move |count: usize| u8::try_from(count - next).expect("few are sent") + 1;
    pair.client.script = Box::new(|_, _| Fate::Drop);
    pair.copies = Some(Box::new(move |count, _| vec![(name(last(count)), DELAY)]));
    for _ in 0..4 {
        let id = pair.client().open(Dir::Uni).expect("allowed");
        pair.client()
            .write(id, &pattern(600))
            .expect("there is room");
        pair.run(MS);
    }
    pair.run(2 * DELAY);
    let asked = |pair: &Pair| -> Vec<u8> {
        let is_asked = |last: &u8| pair.bytes_to.contains_key(&name(*last));
        (1..100).filter(is_asked).collect()
    };
    assert_eq!(asked(&pair), [1, 2, 3]);
    // The client's probes come in other names still.
    pair.run(Duration::from_secs(2));
    let later = asked(&pair);
    assert!(later.len() > 3 && !later.contains(&4), "{later:?}");
    assert_no_amplification(&pair, &[home], "many candidates");
}
