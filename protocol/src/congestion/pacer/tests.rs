use super::*;
use crate::congestion::testing::epoch;

const MTU: u16 = 1200;

fn pacer(rate: Bandwidth) -> (Pacer, Instant) {
    let now = epoch();
    let mut pacer = Pacer::new(now);
    pacer.set(rate, send_quantum(rate, MTU), MTU);
    (pacer, now)
}

//= spec/04-congestion.md#pacing
//= type=test
//# The send quantum MUST be what the rate carries in 1 ms, at least one packet and at most
//# 64 kB.
#[test]
fn quantum_follows_the_rate_between_its_bounds() {
    let at = |bits| send_quantum(Bandwidth::from_bits_per_second(bits), MTU);
    assert_eq!(at(10_000), 1200);
    assert_eq!(at(100_000_000), 12_500);
    assert_eq!(at(10_000_000_000), 64_000);
    assert_eq!(send_quantum(Bandwidth::MAX, 9000), 64_000);
    assert_eq!(send_quantum(Bandwidth::ZERO, u16::MAX), 65_535);
}

#[test]
fn paced_bytes_are_the_rate_to_the_byte() {
    for bits in [10_000, 1_000_000, 100_000_000, 9_999_999_999_u64] {
        let rate = Bandwidth::from_bits_per_second(bits);
        let (mut pacer, start) = pacer(rate);
        let mut now = start;
        let mut sent = 0;
        let end = start + Duration::from_secs(10);
        while now < end {
            let bytes = pacer.budget(now);
            if bytes >= u64::from(MTU) {
                pacer.on_sent(now, u64::from(MTU));
                sent += u64::from(MTU);
            } else {
                now = pacer.next_at(now, u64::from(MTU));
            }
        }
        let ideal = rate.bytes_in(now - start);
        assert!(
            sent.abs_diff(ideal) <= 3 * u64::from(MTU),
            "{bits}: {sent} of {ideal}"
        );
    }
}

//= spec/04-congestion.md#pacing
//= type=test
//# A pacer that is woken late MUST keep the credit it earned up to the larger of 1/32 of the RTT
//# (2 to 8 ms) and one send quantum.
#[test]
fn late_wake_keeps_two_milliseconds_and_no_more() {
    let (mut pacer, start) = pacer(Bandwidth::from_bytes_per_second(10_000_000));
    pacer.on_sent(start, 2400);
    let due = pacer.next_at(start, 1200);
    assert_eq!(due, start + Duration::from_micros(120));
    assert_eq!(pacer.budget(due + Duration::from_millis(1)), 11_200);
    assert_eq!(pacer.budget(due + Duration::from_millis(50)), 20_000);
}

//= spec/04-congestion.md#pacing
//= type=test
//# A pacer that had nothing to send MUST NOT keep more than two packets of credit.
#[test]
fn idle_time_earns_two_packets() {
    let (mut pacer, start) = pacer(Bandwidth::from_bytes_per_second(10_000_000));
    pacer.on_sent(start, 2400);
    assert_eq!(pacer.budget(start + Duration::from_secs(5)), 2400);
}

#[test]
fn a_train_is_paid_for_by_waiting() {
    let (mut pacer, start) = pacer(Bandwidth::from_bytes_per_second(10_000_000));
    pacer.on_sent(start, 2400 + 12_000);
    assert_eq!(pacer.budget(start), 0);
    let due = pacer.next_at(start, 1200);
    assert_eq!(due, start + Duration::from_micros(1320));
    assert_eq!(pacer.budget(due), 1200);
}

#[test]
fn falling_rate_does_not_lock_the_path() {
    let (mut pacer, start) = pacer(Bandwidth::from_bits_per_second(10_000_000_000));
    pacer.on_sent(start, 1_000_000);
    let slow = Bandwidth::from_bits_per_second(100_000);
    pacer.set(slow, send_quantum(slow, MTU), MTU);
    let due = pacer.next_at(start, 1200);
    assert!(due <= start + Duration::from_millis(500));
}

#[test]
fn no_rate_and_any_rate_answer_without_overflow() {
    let (mut pacer, start) = pacer(Bandwidth::ZERO);
    pacer.on_sent(start, u64::MAX);
    assert_eq!(pacer.next_at(start, u64::MAX), start + LONGEST_WAIT);
    pacer.set(Bandwidth::MAX, u64::MAX, MTU);
    let late = start + Duration::from_secs(1 << 20);
    assert!(pacer.budget(late) > 0);
    assert_eq!(pacer.next_at(late, 1200), late);
}

#[test]
fn a_burst_is_what_the_burst_time_earns_up_to_the_quantum() {
    let (mut pacer, _) = pacer(Bandwidth::from_bits_per_second(100_000_000));
    assert_eq!(pacer.burst(), 3125);
    pacer.set_burst_time(Duration::from_micros(500));
    assert_eq!(pacer.burst(), 6250);
    pacer.set_burst_time(Duration::from_secs(1));
    assert_eq!(pacer.burst(), 12_500);
    pacer.set_burst_time(Duration::ZERO);
    assert_eq!(pacer.burst(), u64::from(MTU));
}
