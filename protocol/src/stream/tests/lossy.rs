//! Whatever packets are lost, late, doubled or wrongly declared lost: every byte arrives once and
//! both ends fall silent.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::pair::{Packet, Pair, RTT, bytes, deliver, events, read_all, transmit, write_up_to};
use crate::{
    config::TransportConfig,
    error::ReadError,
    stream::{StreamEvent, Streams},
    testing::proptest_config,
    units::{CloseCode, Dir},
    wire::id::StreamId,
};

/// A small generator with a seed of its own, so that a case replays.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

#[derive(Clone, Debug)]
struct Case {
    seed: u64,
    loss_percent: u64,
    stream_lens: Vec<u64>,
    credit: u64,
    as_blocks: bool,
}

fn case() -> impl Strategy<Value = Case> {
    (
        any::<u64>(),
        0_u64..40,
        prop::collection::vec(0_u64..60_000, 1..12),
        prop_oneof![Just(500_u64), Just(5_000), Just(64 << 10)],
        any::<bool>(),
    )
        .prop_map(
            |(seed, loss_percent, stream_lens, credit, as_blocks)| Case {
                seed,
                loss_percent,
                stream_lens,
                credit,
                as_blocks,
            },
        )
}

/// One direction of a bad link: packets wait, and leave in any order.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Packet>,
}

impl Queue {
    /// Takes what `from` has to send and lets a few packets through to `to`.
    fn turn(
        &mut self,
        from: &mut Streams,
        to: &mut Streams,
        case: &Case,
        dice: &mut Dice,
        now: std::time::Instant,
    ) {
        while self.waiting.len() < 32
            && let Some(packet) = transmit(from)
        {
            self.waiting.push_back(packet);
        }
        for _ in 0..dice.roll(16) {
            let near = self.waiting.len().min(4) as u64;
            if near == 0 {
                return;
            }
            let at = dice.roll(near) as usize;
            let Some(packet) = self.waiting.remove(at) else {
                return;
            };
            let is_lost = dice.chance(case.loss_percent);
            if !is_lost {
                deliver(to, &packet, now).unwrap();
            }
            // Sometimes a packet that has arrived is declared lost, and its ACK comes later or never.
            let is_declared_lost = is_lost || dice.chance(case.loss_percent / 4);
            for &what in &packet.sent {
                if is_declared_lost {
                    from.on_loss(what);
                }
                if !is_lost && (!is_declared_lost || dice.chance(50)) {
                    from.on_ack(what);
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Reader {
    got: BTreeMap<StreamId, (Vec<u8>, u64, bool)>,
}

impl Reader {
    fn read(&mut self, streams: &mut Streams, as_blocks: bool) {
        while let Some(id) = streams.accept(Dir::Uni) {
            self.got.insert(id, (Vec::new(), 0, false));
        }
        for (&id, (got, count, is_over)) in &mut self.got {
            while !*is_over {
                let taken = match as_blocks {
                    true => streams.read_block(id),
                    false => streams
                        .read(id, 777)
                        .map(|taken| taken.map(|data| (*count, data))),
                };
                match taken {
                    Ok(Some((offset, data))) => {
                        let end = offset as usize + data.len();
                        got.resize(got.len().max(end), 0);
                        got[offset as usize..end].copy_from_slice(&data);
                        *count += data.len() as u64;
                    }
                    Ok(None) => *is_over = true,
                    Err(ReadError::Blocked) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

fn run(case: &Case) {
    let transport = TransportConfig::default()
        .initial_stream_credit(case.credit)
        .max_stream_credit(case.credit * 8)
        .max_connection_credit(case.credit * 9)
        .max_streams_uni(4);
    let mut pair = Pair::with(&transport);
    let mut dice = Dice(case.seed);
    let (mut forth, mut back) = (Queue::default(), Queue::default());
    let mut reader = Reader::default();
    let mut lens = case.stream_lens.iter().copied();
    let mut next_len = lens.next();
    let mut writing: Vec<(StreamId, u64, u64)> = Vec::new();
    let mut opened = Vec::new();
    let mut finished = 0;
    for _ in 0..200_000 {
        pair.now += RTT / 20;
        pair.client.advance(pair.now);
        pair.server.advance(pair.now);
        if let Some(len) = next_len
            && let Some(id) = pair.client.open(Dir::Uni)
        {
            writing.push((id, 0, len));
            opened.push((id, len));
            next_len = lens.next();
        }
        writing.retain_mut(|(id, offset, len)| {
            *offset = write_up_to(&mut pair.client, *id, *offset, *len);
            if offset == len {
                pair.client.finish(*id).unwrap();
            }
            offset != len
        });
        forth.turn(
            &mut pair.client,
            &mut pair.server,
            case,
            &mut dice,
            pair.now,
        );
        if dice.chance(30) {
            reader.read(&mut pair.server, case.as_blocks);
        }
        back.turn(
            &mut pair.server,
            &mut pair.client,
            case,
            &mut dice,
            pair.now,
        );
        let all = events(&mut pair.client);
        finished += all
            .iter()
            .filter(|e| matches!(e, StreamEvent::Finished(_)))
            .count();
        let is_quiet = forth.waiting.is_empty()
            && back.waiting.is_empty()
            && !pair.client.interest().any()
            && !pair.server.interest().any();
        if finished == case.stream_lens.len() && is_quiet && !pair.server.has_open() {
            break;
        }
    }
    assert_eq!(finished, case.stream_lens.len(), "stuck: {pair:?}");
    for (id, len) in opened {
        let (got, count, is_over) = &reader.got[&id];
        assert!(is_over);
        assert_eq!(*count, len, "{id} gave bytes twice or not at all");
        assert_eq!(got[..], bytes(0..len)[..], "{id}");
    }
    assert!(!pair.client.has_open() && !pair.server.has_open());
    assert_eq!(pair.client.unacked_bytes(), 0);
    assert_eq!(pair.server.unread_bytes(), 0);
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn every_byte_arrives_once_whatever_the_link_does(case in case()) {
        run(&case);
    }
}

const CODE: CloseCode = CloseCode::from_u32(1);

/// An application without a plan: errors are part of the game, as halves end at any time, by either
/// side.
fn act(streams: &mut Streams, ids: &[StreamId], dice: &mut Dice) {
    for &id in ids {
        match dice.roll(40) {
            0 => drop(streams.reset(id, CODE)),
            1 => drop(streams.stop(id, CODE)),
            2 => drop(streams.finish(id)),
            3..10 => drop(streams.write(id, &bytes(0..3000))),
            10..20 => drop(streams.read(id, 2000)),
            20 => drop(streams.reset_after_delivery(id, CODE)),
            _ => {}
        }
    }
}

/// An application that wants to be done.
fn end(streams: &mut Streams, ids: &[StreamId]) {
    for &id in ids {
        drop((streams.reset(id, CODE), streams.stop(id, CODE)));
    }
}

fn end_at_random(case: &Case) {
    let mut dice = Dice(case.seed);
    let mut pair = Pair::with(&TransportConfig::default().max_streams_bi(8));
    let (mut forth, mut back) = (Queue::default(), Queue::default());
    let (mut client_ids, mut server_ids) = (Vec::new(), Vec::new());
    for round in 0..5000 {
        pair.now += RTT / 20;
        let is_ending = round >= 300;
        server_ids.extend(pair.server.accept(Dir::Bi));
        if is_ending {
            end(&mut pair.client, &client_ids);
            end(&mut pair.server, &server_ids);
            if !pair.client.has_open() && !pair.server.has_open() {
                break;
            }
        } else {
            client_ids.extend(pair.client.open(Dir::Bi));
            act(&mut pair.client, &client_ids, &mut dice);
            act(&mut pair.server, &server_ids, &mut dice);
        }
        forth.turn(
            &mut pair.client,
            &mut pair.server,
            case,
            &mut dice,
            pair.now,
        );
        back.turn(
            &mut pair.server,
            &mut pair.client,
            case,
            &mut dice,
            pair.now,
        );
    }
    let seed = case.seed;
    assert!(!pair.client.has_open(), "client, seed {seed}");
    assert!(!pair.server.has_open(), "server, seed {seed}");
    assert_eq!(pair.client.unacked_bytes(), 0, "seed {seed}");
    assert_eq!(pair.server.unread_bytes(), 0, "seed {seed}");
}

#[test]
fn resets_and_stops_at_any_moment_leave_nothing_behind() {
    for seed in 0..200 {
        end_at_random(&Case {
            seed,
            loss_percent: 10,
            stream_lens: vec![],
            credit: 0,
            as_blocks: false,
        });
    }
}

#[test]
fn a_window_grows_until_it_no_longer_holds_up_the_peer() {
    let mut pair = Pair::new();
    let id = pair.client.open(Dir::Uni).unwrap();
    let end = 32 << 20;
    let (mut offset, mut read) = (0, 0);
    let mut rounds = 0;
    // Each round trip, all the credit is used.
    while read < end {
        pair.now += RTT;
        pair.client.tune(pair.now, RTT, 16 << 20);
        pair.server.tune(pair.now, RTT, 16 << 20);
        offset = write_up_to(&mut pair.client, id, offset, end);
        pair.settle();
        read += read_all(&mut pair.server, id).0.len() as u64;
        pair.settle();
        rounds += 1;
        events(&mut pair.client);
    }
    assert!(rounds < 40, "{rounds} rounds for 32 MiB");
}
