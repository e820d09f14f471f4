use super::*;
use crate::congestion::{PacketSample, testing::epoch};

const MTU: u16 = 1200;
const RTT: Duration = Duration::from_millis(50);

#[test]
fn the_first_round_trip_is_not_the_typed_rate() {
    let controller = Fixed::new(Bandwidth::from_bits_per_second(800_000_000), MTU, RTT);
    let bytes = controller.pacing_rate().bytes_in(RTT);
    assert!(bytes <= 128 * u64::from(MTU), "{bytes}");
}

//= spec/04-congestion.md#fixed-rate
//= type=test
//# A sender with a typed rate MUST NOT send at more than twice the rate that is delivered, except
//# for 32 packets per round trip.
#[test]
fn twice_the_delivered_rate_is_the_most() {
    let start = epoch();
    let typed = Bandwidth::from_bits_per_second(800_000_000);
    let mut controller = Fixed::new(typed, MTU, RTT);
    // A packet per millisecond arrives: 9.6 Mbit/s.
    for index in 0..500_u64 {
        let at = Duration::from_millis(index);
        let packet = PacketSample {
            index,
            bytes: MTU,
            sent_at: start + at / 2,
            app_limited: false,
        };
        controller.on_ack(&AckSample {
            now: start + at + RTT,
            arrived_at: start + at + RTT,
            acked: &[packet],
            rtt: Some(RTT),
            smoothed_rtt: RTT,
            received_at: Some(at),
            prior_in_flight_bytes: 0,
            in_flight_bytes: 0,
            ce_packets: 0,
        });
    }
    let delivered = Bandwidth::from_bits_per_second(9_600_000);
    assert!(
        controller.pacing_rate() <= delivered.scaled(2.1),
        "{}",
        controller.pacing_rate()
    );
    assert!(
        controller.pacing_rate() >= delivered.scaled(1.8),
        "{}",
        controller.pacing_rate()
    );
}

#[test]
fn a_low_typed_rate_is_kept_as_it_is() {
    let typed = Bandwidth::from_bits_per_second(1_000_000);
    let mut controller = Fixed::new(typed, MTU, RTT);
    assert_eq!(controller.pacing_rate(), typed);
    controller.set_max_rate(Some(Bandwidth::from_bits_per_second(500_000)));
    assert_eq!(controller.pacing_rate().bits_per_second(), 500_000);
}
