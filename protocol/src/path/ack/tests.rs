use super::*;
use crate::testing::epoch;

fn policy(packets: u64, delay_ms: u64) -> AckPolicy {
    AckPolicy::from_wire(1, packets, delay_ms * 1000, 1000)
}

//= spec/03-reliability.md#ack-policy
//= type=test
//# A receiver MUST send an ACK at the latest when the number of unacknowledged ack-eliciting packets
//# reaches the policy's packet count, or when the policy's delay has passed since the first of
//# them.
#[test]
fn ack_is_due_after_the_policys_packets_or_its_delay() {
    let now = epoch();
    let mut schedule = AckSchedule::new();
    schedule.set_policy(policy(3, 5));
    schedule.on_packet(now, false);
    assert!(!schedule.interest(now));
    assert_eq!(schedule.due_at(), Some(now + Duration::from_millis(5)));
    schedule.on_packet(now + Duration::from_millis(1), false);
    assert_eq!(
        schedule.due_at(),
        Some(now + Duration::from_millis(5)),
        "counts from the first"
    );
    schedule.on_packet(now + Duration::from_millis(2), false);
    assert!(schedule.interest(now + Duration::from_millis(2)));
    schedule.on_sent();
    assert_eq!(schedule.due_at(), None);
}

//= spec/03-reliability.md#ack-policy
//= type=test
//# A receiver MUST ignore an ACK_POLICY whose sequence number is not above that of the policy in
//# force.
#[test]
fn older_policy_never_replaces_a_newer_one() {
    let mut schedule = AckSchedule::new();
    schedule.set_policy(AckPolicy {
        sequence: 5,
        ..policy(9, 5)
    });
    schedule.set_policy(AckPolicy {
        sequence: 4,
        ..policy(3, 5)
    });
    assert_eq!(schedule.policy().packets, 9);
}

#[test]
fn absurd_policy_is_clamped() {
    let absurd = AckPolicy::from_wire(1, 0, u64::MAX >> 2, u64::MAX >> 2);
    assert_eq!((absurd.packets, absurd.delay), (1, MAX_DELAY));
}

//= spec/03-reliability.md#ack-policy
//= type=test
//# A sender SHOULD ask for one ACK per RTT/8, at most 10 ms (2 ms from 1 Gbit/s on), but not for
//# more than one per eight packets unless eight packets are more than an eighth of its window.
#[test]
fn policy_follows_rate_and_rtt() {
    let of = |mbit: u64, rtt_ms: u64, window| {
        let rate = Bandwidth::from_bits_per_second(mbit * 1_000_000);
        let policy = AckPolicy::for_path(
            rate,
            Duration::from_millis(rtt_ms),
            window,
            1472,
            Duration::ZERO,
        );
        (policy.packets, policy.delay.as_micros())
    };
    assert_eq!(of(100, 100, 850), (84, 10_000));
    assert_eq!(of(10_000, 200, 170_000), (1698, 2_000));
    assert_eq!(
        of(10, 20, 17).0,
        2,
        "a tiny window needs every other packet acknowledged"
    );
}
