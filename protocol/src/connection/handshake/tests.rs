use super::*;
use crate::{crypto::keys::initial_keys, testing::epoch, units::Side, wire::id::ConnectionId};

fn space() -> Space {
    Space::new(initial_keys(&ConnectionId::new([7; 8]), Side::Client))
}

fn crypto(offset: u64, data: &'static [u8]) -> Crypto {
    Crypto {
        offset,
        data: Bytes::from_static(data),
    }
}

fn write(space: &mut Space, now: Instant, room: usize) -> usize {
    let mut out = Vec::new();
    space.write(now, &mut FrameWriter::new(&mut out, room));
    out.len()
}

#[test]
fn pieces_are_read_in_order_whatever_order_they_came_in() {
    let mut space = space();
    for frame in [
        crypto(4, b"efgh"),
        crypto(2, b"cde"),
        crypto(0, b"abc"),
        crypto(4, b"ef"),
    ] {
        space.on_crypto(frame).expect("well within the limit");
    }
    let mut read = Vec::new();
    while let Some(bytes) = space.read() {
        read.extend_from_slice(&bytes);
    }
    assert_eq!(read, b"abcdefgh");
}

//= spec/02-handshake.md#handshake-recovery
//= type=test
//# An endpoint MUST close the connection with CRYPTO_BUFFER_EXCEEDED when the peer sends handshake
//# bytes beyond offset 16384 of a level.
#[test]
fn endless_handshake_is_refused() {
    let error = space().on_crypto(crypto(MAX_CRYPTO, b"x")).unwrap_err();
    assert_eq!(error.code, TransportCode::CRYPTO_BUFFER_EXCEEDED);
    assert!(space().on_crypto(crypto(MAX_CRYPTO - 1, b"x")).is_ok());
}

//= spec/02-handshake.md#handshake-recovery
//= type=test
//# An endpoint MUST send all unacknowledged handshake bytes again when a probe interval passes
//# without an ACK, and MUST double the interval each time.
#[test]
fn unacknowledged_bytes_are_sent_again_at_doubling_intervals() {
    let start = epoch();
    let rtt = Rtt::new(Duration::from_millis(100));
    let mut spaces = Spaces::default();
    spaces.install(Level::Initial, space());
    let bytes = [1; 900];
    spaces
        .get_mut(Level::Initial)
        .expect("installed")
        .send(&bytes);
    let mut now = start;
    let mut intervals = Vec::new();
    for _ in 0..3 {
        let initial = spaces.get_mut(Level::Initial).expect("installed");
        assert!(
            write(initial, now, 1200) > bytes.len(),
            "all of it goes out again"
        );
        assert!(!initial.interest());
        let due = spaces
            .due_at(&rtt, false)
            .expect("bytes are unacknowledged");
        intervals.push(due - now);
        now = due;
        spaces.on_timeout();
    }
    assert_eq!(intervals[1], intervals[0] * 2);
    assert_eq!(intervals[2], intervals[0] * 4);
}

#[test]
fn acknowledged_bytes_stop_the_timer() {
    let start = epoch();
    let mut rtt = Rtt::new(Duration::from_millis(100));
    let mut spaces = Spaces::default();
    spaces.install(Level::Initial, space());
    let initial = spaces.get_mut(Level::Initial).expect("installed");
    initial.send(&[1; 900]);
    write(initial, start, 1200);
    let ranges = AckRanges::new(std::iter::once(0..1)).expect("not empty");
    let later = start + Duration::from_millis(40);
    assert!(
        initial
            .on_ack(later, &ranges, &mut rtt)
            .expect("packet 0 was sent")
    );
    assert_eq!(rtt.latest(), Duration::from_millis(40));
    assert_eq!(spaces.due_at(&rtt, false), None);
    assert!(
        spaces.due_at(&rtt, true).is_some(),
        "a client whose server may be mute asks again"
    );
}

#[test]
fn ack_of_a_packet_never_sent_is_refused() {
    let ranges = AckRanges::new(std::iter::once(0..1)).expect("not empty");
    let mut rtt = Rtt::new(Duration::from_millis(100));
    assert!(space().on_ack(epoch(), &ranges, &mut rtt).is_err());
}
