use bytes::Bytes;

use super::*;
use crate::{testing::epoch, units::CloseCode};

fn closing() -> Closing {
    let frame = Close::Application {
        code: CloseCode::default(),
        reason: Bytes::new(),
    };
    Closing::new(frame, epoch())
}

//= spec/06-lifecycle.md#closing
//= type=test
//# A closing endpoint MUST limit how often it repeats CLOSE: after one, two, four and so on packets
//# received.
#[test]
fn close_is_repeated_ever_less_often() {
    let mut closing = closing();
    closing.pending = false;
    let mut answered = Vec::new();
    for received in 1..=16 {
        closing.on_datagram();
        if std::mem::take(&mut closing.pending) {
            answered.push(received);
        }
    }
    assert_eq!(answered, [1, 3, 7, 15]);
}

#[test]
fn silence_counts_from_the_first_unanswered_question() {
    let start = epoch();
    let second = Duration::from_secs(1);
    let mut idle = Idle::new(start, 30 * second, 15 * second);
    idle.on_sent(start + second);
    idle.on_sent(start + 2 * second);
    assert_eq!(idle.expires_at(Duration::ZERO), start + 31 * second);
    idle.on_received(start + 3 * second);
    assert_eq!(idle.expires_at(Duration::ZERO), start + 33 * second);
}

//= spec/06-lifecycle.md#idle-timeout
//= type=test
//# The idle timeout of a connection is the smaller of the two that the endpoints announced.
#[test]
fn smaller_timeout_wins_and_zero_means_none() {
    let start = epoch();
    let mut idle = Idle::new(start, Duration::from_secs(30), Duration::from_secs(15));
    idle.set_peer_timeout(Duration::ZERO);
    assert_eq!(
        idle.expires_at(Duration::ZERO),
        start + Duration::from_secs(30)
    );
    idle.set_peer_timeout(Duration::from_secs(10));
    assert_eq!(
        idle.expires_at(Duration::ZERO),
        start + Duration::from_secs(10)
    );
    assert_eq!(idle.keep_alive_at(), start + Duration::from_secs(5));
}

//= spec/06-lifecycle.md#idle-timeout
//= type=test
//# An endpoint MUST NOT give the peer up before three probe intervals have passed.
#[test]
fn peer_on_a_slow_path_is_given_three_probe_intervals() {
    let start = epoch();
    let second = Duration::from_secs(1);
    let idle = Idle::new(start, second, second);
    assert_eq!(idle.expires_at(2 * second), start + 6 * second);
}
