use super::*;
use crate::testing::epoch;

const INTERVAL: Duration = Duration::from_millis(200);

fn candidate(bytes: usize) -> (Instant, Candidate) {
    let now = epoch();
    let from = (SocketAddr::from(([203, 0, 113, 66], 9)), None);
    (now, Candidate::new(now, from, bytes, [7; 8], INTERVAL))
}

//= spec/07-paths.md#validation
//= type=test
//# A challenge MUST be repeated with the same bytes when a probe interval, at least 100 ms, passes without the answer, then after
//# two and four more, and the address MUST be forgotten after another eight.
#[test]
fn challenge_is_repeated_at_doubling_intervals_and_then_given_up() {
    for interval in [INTERVAL, Duration::from_millis(3)] {
        let (now, mut candidate) = candidate(1200);
        candidate.due = now + interval.max(MIN_INTERVAL);
        let unit = interval.max(MIN_INTERVAL);
        let mut at = now;
        for wait in [1, 2, 4] {
            assert_eq!(candidate.challenge(), Some([7; 8]));
            candidate.on_challenge_sent(at);
            assert_eq!(candidate.challenge(), None);
            let due = at + unit * wait;
            assert!(!candidate.on_timeout(due - Duration::from_millis(1), interval));
            assert_eq!(candidate.challenge(), None);
            assert!(!candidate.on_timeout(due, interval));
            at = due;
        }
        assert_eq!(candidate.challenge(), Some([7; 8]));
        assert_eq!(candidate.due_at(), at + unit * 8);
        assert!(candidate.on_timeout(at + unit * 8, interval));
    }
}

#[test]
fn three_times_what_came_may_go() {
    let (_, mut candidate) = candidate(29);
    assert_eq!(candidate.allowance(), 87);
    candidate.on_sent(80);
    assert_eq!(candidate.allowance(), 7);
    candidate.on_sent(80);
    assert_eq!(candidate.allowance(), 0);
    candidate.on_received(100);
    assert_eq!(candidate.allowance(), 227);
    assert_eq!(Validation::new(true).allowance(), usize::MAX);
    assert_eq!(Validation::new(false).allowance(), 0);
}

#[test]
fn only_the_first_challenge_gives_a_round_trip() {
    let (now, mut candidate) = candidate(1200);
    assert_eq!(candidate.round_trip(now), None);
    candidate.on_challenge_sent(now);
    let answered_at = now + INTERVAL / 2;
    assert_eq!(candidate.round_trip(answered_at), Some(INTERVAL / 2));
    candidate.on_timeout(now + INTERVAL, INTERVAL);
    assert_eq!(candidate.round_trip(now + INTERVAL * 2), None);
}
