//! Tests of Reno's window, without a network.

use rp_protocol::congestion::PacketSample;

use super::*;

fn packet(index: u64, sent_at: Instant) -> PacketSample {
    PacketSample {
        index,
        bytes: 1000,
        sent_at,
        app_limited: false,
    }
}

fn lose(reno: &mut Reno, now: Instant, sent_at: Instant) {
    reno.on_loss(&LossSample {
        now,
        lost: &[packet(0, sent_at)],
        in_flight_bytes: 0,
    });
}

#[test]
fn a_loss_halves_the_window_once_a_round() {
    let now = Instant::now();
    let mut reno = Reno::new(1000, Duration::from_millis(100));
    lose(&mut reno, now, now);
    assert_eq!(reno.window(), 5000);
    lose(&mut reno, now + Duration::from_millis(1), now);
    assert_eq!(reno.window(), 5000);
    let later = now + Duration::from_millis(200);
    lose(&mut reno, later, later);
    assert_eq!(reno.window(), 2500);
    for round in 0..5 {
        let at = later + Duration::from_secs(round + 1);
        lose(&mut reno, at, at);
    }
    assert_eq!(reno.window(), 2000);
}

#[test]
fn a_round_of_acks_doubles_at_first_and_then_adds_one_packet() {
    let now = Instant::now();
    let mut reno = Reno::new(1000, Duration::from_millis(100));
    let ack = |reno: &mut Reno, now: Instant, packets: u64| {
        let acked: Vec<PacketSample> = (0..packets).map(|i| packet(i, now)).collect();
        reno.on_ack(&AckSample {
            now,
            arrived_at: now,
            acked: &acked,
            rtt: None,
            smoothed_rtt: Duration::from_millis(100),
            received_at: None,
            prior_in_flight_bytes: 0,
            in_flight_bytes: 0,
            ce_packets: 0,
        });
    };
    ack(&mut reno, now, 10);
    assert_eq!(reno.window(), 20_000);
    lose(&mut reno, now, now);
    let later = now + Duration::from_secs(1);
    ack(&mut reno, later, 10);
    assert_eq!(reno.window(), 11_000);
}
