use super::*;
use crate::congestion::testing::epoch;

const MTU: u16 = 1200;
const RTT: Duration = Duration::from_millis(100);

fn packet(index: u64, sent_at: Instant) -> PacketSample {
    PacketSample {
        index,
        bytes: MTU,
        sent_at,
        app_limited: false,
    }
}

fn ack(controller: &mut Cubic, now: Instant, packets: &[PacketSample]) {
    controller.on_ack(&AckSample {
        now,
        arrived_at: now,
        acked: packets,
        rtt: Some(RTT),
        smoothed_rtt: RTT,
        received_at: None,
        prior_in_flight_bytes: 0,
        in_flight_bytes: 0,
        ce_packets: 0,
    });
}

fn lose(controller: &mut Cubic, now: Instant, packets: &[PacketSample]) {
    controller.on_loss(&LossSample {
        now,
        lost: packets,
        in_flight_bytes: 0,
    });
}

#[test]
fn slow_start_doubles_in_a_round_trip() {
    let now = epoch();
    let mut controller = Cubic::new(MTU, RTT, now);
    let packets: Vec<_> = (0..10).map(|index| packet(index, now)).collect();
    ack(&mut controller, now + RTT, &packets);
    assert_eq!(controller.window(), 20 * u64::from(MTU));
}

#[test]
fn one_round_trip_is_cut_once_to_seven_tenths() {
    let now = epoch();
    let mut controller = Cubic::new(MTU, RTT, now);
    lose(&mut controller, now + RTT, &[packet(0, now)]);
    lose(&mut controller, now + RTT, &[packet(1, now)]);
    assert_eq!(controller.window(), 7 * u64::from(MTU));
    lose(&mut controller, now + 3 * RTT, &[packet(2, now + 2 * RTT)]);
    assert!(controller.window() < 5 * u64::from(MTU));
}

#[test]
fn losses_that_were_none_are_undone() {
    let now = epoch();
    let mut controller = Cubic::new(MTU, RTT, now);
    lose(
        &mut controller,
        now + RTT,
        &[packet(0, now), packet(1, now)],
    );
    controller.on_spurious_loss(now + RTT, &[packet(0, now)]);
    assert_eq!(controller.window(), 7 * u64::from(MTU));
    controller.on_spurious_loss(now + RTT, &[packet(1, now)]);
    assert_eq!(controller.window(), 10 * u64::from(MTU));
}

#[test]
fn the_curve_comes_back_to_its_maximum_after_k_seconds() {
    let mut curve = Curve::new(100.0, 100.0);
    curve.cut(2.0);
    assert!((curve.window() - 70.0).abs() < 1e-9);
    let k = (30.0_f64 / 0.4).cbrt();
    let rtt = 0.1;
    let mut time = 0.0;
    while time < k {
        curve.grow(curve.window(), rtt, rtt);
        time += rtt;
    }
    assert!(
        (98.0..110.0).contains(&curve.window()),
        "{}",
        curve.window()
    );
}
