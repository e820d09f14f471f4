//! The send buffer against a model that keeps one state per byte.

#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets of these tests are small, and bytes are made from larger numbers"
)]

use proptest::prelude::*;

use super::*;
use crate::testing::proptest_config;

/// The byte every stream of these tests has at `offset`.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn bytes(range: Range<u64>) -> Vec<u8> {
    range.map(byte_at).collect()
}

fn filled(len: u64) -> SendBuffer {
    let mut buffer = SendBuffer::new();
    buffer.push_copy(&bytes(0..len));
    buffer
}

fn copied(buffer: &mut SendBuffer, range: &Range<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    buffer.copy(range, &mut out);
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteState {
    Unsent,
    InFlight,
    Lost,
    Acked,
}

#[derive(Clone, Debug)]
enum Step {
    Copy(usize),
    Share(usize),
    Send(u64),
    Repair(u64),
    Probe(u64),
    Ack(prop::sample::Index),
    Lose(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (1_usize..40_000).prop_map(Step::Copy),
        1 => (1_usize..3_000).prop_map(Step::Share),
        4 => (1_u64..3_000).prop_map(Step::Send),
        1 => (1_u64..3_000).prop_map(Step::Repair),
        1 => (1_u64..3_000).prop_map(Step::Probe),
        4 => any::<prop::sample::Index>().prop_map(Step::Ack),
        2 => any::<prop::sample::Index>().prop_map(Step::Lose),
    ]
}

#[derive(Default)]
struct Model {
    states: Vec<ByteState>,
    packets: Vec<Range<u64>>,
}

impl Model {
    fn slice(&mut self, range: &Range<u64>) -> &mut [ByteState] {
        &mut self.states[range.start as usize..range.end as usize]
    }

    fn count(&self, state: ByteState) -> u64 {
        self.states.iter().filter(|&&s| s == state).count() as u64
    }

    fn on_sent(&mut self, range: Range<u64>, allowed: ByteState) {
        for state in self.slice(&range) {
            assert_eq!(*state, allowed);
            *state = ByteState::InFlight;
        }
        self.packets.push(range);
    }

    fn apply(&mut self, buffer: &mut SendBuffer, step: Step) {
        match step {
            Step::Copy(len) | Step::Share(len) => {
                let start = buffer.end();
                let data = bytes(start..start + len as u64);
                match step {
                    Step::Copy(_) => buffer.push_copy(&data),
                    _ => buffer.push_shared(data.into()),
                }
                self.states
                    .resize(self.states.len() + len, ByteState::Unsent);
            }
            Step::Send(max) => {
                let range = buffer.take_unsent(max);
                if !range.is_empty() {
                    assert_eq!(copied(buffer, &range), bytes(range.clone()));
                    self.on_sent(range, ByteState::Unsent);
                }
            }
            Step::Repair(max) => match buffer.take_lost(max) {
                Some(range) => {
                    assert_eq!(copied(buffer, &range), bytes(range.clone()));
                    self.on_sent(range, ByteState::Lost);
                }
                None => assert_eq!(self.count(ByteState::Lost), 0),
            },
            Step::Probe(max) => {
                let range = buffer.take_probe(max);
                assert_eq!(copied(buffer, &range), bytes(range.clone()));
                let unacked = self.count(ByteState::InFlight) + self.count(ByteState::Lost);
                assert_eq!(range.is_empty(), unacked == 0);
                if !range.is_empty() {
                    self.packets.push(range);
                }
            }
            Step::Ack(index) if !self.packets.is_empty() => {
                let range = self.packets.swap_remove(index.index(self.packets.len()));
                buffer.ack(range.clone());
                self.slice(&range).fill(ByteState::Acked);
            }
            Step::Lose(index) if !self.packets.is_empty() => {
                // Lost packets stay known: an ACK may come after all.
                let range = self.packets[index.index(self.packets.len())].clone();
                buffer.lose(range.clone());
                for state in self.slice(&range) {
                    if *state == ByteState::InFlight {
                        *state = ByteState::Lost;
                    }
                }
            }
            Step::Ack(_) | Step::Lose(_) => {}
        }
    }

    fn check(&self, buffer: &SendBuffer) {
        let total = self.states.len() as u64;
        assert_eq!(buffer.end(), total);
        assert_eq!(buffer.sent(), total - self.count(ByteState::Unsent));
        assert_eq!(buffer.unacked(), total - self.count(ByteState::Acked));
        assert_eq!(buffer.has_lost(), self.count(ByteState::Lost) > 0);
        assert_eq!(buffer.lost.covered(), self.count(ByteState::Lost));
        assert!(buffer.held() >= buffer.unacked());
        let held: u64 = buffer.chunks.iter().map(|chunk| chunk.data.held()).sum();
        assert_eq!(buffer.held(), held);
    }
}

proptest! {
    #![proptest_config(proptest_config())]

    //= spec/05-streams.md#sending-states
    //= type=test
    //# A sender MUST NOT change a byte it has sent: a receiver
    //# takes whichever copy comes first.
    #[test]
    fn any_history_leaves_every_byte_where_the_model_has_it(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut buffer = SendBuffer::new();
        let mut model = Model::default();
        for step in steps {
            model.apply(&mut buffer, step);
            model.check(&buffer);
        }
        // Whatever happened, acknowledging all leaves nothing.
        buffer.take_unsent(u64::MAX);
        buffer.ack(0..buffer.end());
        prop_assert!(buffer.is_all_acked());
        prop_assert_eq!((buffer.unacked(), buffer.held()), (0, 0));
        prop_assert_eq!(buffer.chunks.capacity(), 0);
    }
}

#[test]
fn a_hole_pins_its_own_chunk_and_no_other() {
    let len = 64 * CHUNK_BYTES as u64;
    let mut buffer = filled(len);
    buffer.take_unsent(u64::MAX);
    buffer.ack(1000..len);
    assert_eq!(buffer.unacked(), 1000);
    assert_eq!(buffer.held(), CHUNK_BYTES as u64);
}

#[test]
fn small_writes_share_a_chunk() {
    let mut buffer = SendBuffer::new();
    for offset in 0..10_000 {
        buffer.push_copy(&[byte_at(offset)]);
    }
    assert!(buffer.chunks.len() < 32, "{} chunks", buffer.chunks.len());
    let range = buffer.take_unsent(10_000);
    assert_eq!(copied(&mut buffer, &range), bytes(0..10_000));
}

#[test]
fn large_shared_bytes_are_not_copied() {
    let data = Bytes::from(bytes(0..100_000));
    let mut buffer = SendBuffer::new();
    buffer.push_shared(data.clone());
    let Some(Chunk {
        data: Data::Shared(kept),
        ..
    }) = buffer.chunks.front()
    else {
        panic!("copied");
    };
    assert_eq!(kept.as_ptr(), data.as_ptr());
}

#[test]
fn a_late_ack_takes_back_what_was_declared_lost() {
    let mut buffer = filled(3000);
    buffer.take_unsent(u64::MAX);
    buffer.lose(0..1000);
    buffer.lose(2000..3000);
    assert!(buffer.has_lost_tail());
    buffer.ack(2000..3000);
    assert!(!buffer.has_lost_tail());
    buffer.ack(0..1000);
    assert!(!buffer.has_lost());
    assert_eq!(buffer.unacked(), 1000);
}

#[test]
fn probes_walk_through_what_is_in_flight_and_begin_again() {
    let mut buffer = filled(2500);
    buffer.take_unsent(u64::MAX);
    buffer.ack(1000..1500);
    let probes: Vec<_> = (0..4).map(|_| buffer.take_probe(800)).collect();
    assert_eq!(probes, [0..800, 800..1000, 1500..2300, 2300..2500]);
    assert_eq!(buffer.take_probe(800), 0..800);
    buffer.ack(0..100);
    assert_eq!(buffer.take_probe(100), 100..200);
}

#[test]
fn abandoned_bytes_are_gone_and_late_news_of_them_is_ignored() {
    let mut buffer = filled(5000);
    buffer.take_unsent(3000);
    buffer.lose(0..1000);
    buffer.abandon();
    buffer.ack(1000..2000);
    buffer.lose(2000..3000);
    assert_eq!((buffer.sent(), buffer.end()), (3000, 3000));
    assert_eq!((buffer.unacked(), buffer.held()), (0, 0));
    assert!(!buffer.has_lost() && !buffer.is_in_flight());
}
