use super::{rounds::Rounds, trains::Trains, *};
use crate::congestion::testing::epoch;

const MTU: u16 = 1200;
const RTT: Duration = Duration::from_millis(100);

/// Sends and acknowledges `packets` evenly at `rate`, each a round trip after it left.
fn run(controller: &mut Adaptive, from: Instant, first: u64, packets: u64, rate: f64) -> Instant {
    let spacing = Duration::from_secs_f64(f64::from(MTU) / rate);
    let sample = |index: u64| PacketSample {
        index: first + index,
        bytes: MTU,
        sent_at: from + spacing * u32::try_from(index).unwrap(),
        app_limited: false,
    };
    let in_flight = u64::try_from(RTT.as_nanos() / spacing.as_nanos()).unwrap();
    for step in 0..packets + in_flight {
        if step < packets {
            controller.on_sent(&SentSample {
                packet: sample(step),
                in_flight_bytes: in_flight * u64::from(MTU),
            });
        }
        if let Some(index) = step.checked_sub(in_flight) {
            let packet = sample(index);
            controller.on_ack(&AckSample {
                now: packet.sent_at + RTT,
                arrived_at: packet.sent_at + RTT,
                acked: &[packet],
                rtt: Some(RTT),
                smoothed_rtt: RTT,
                received_at: Some(packet.sent_at + RTT / 2 - from + Duration::from_secs(9)),
                prior_in_flight_bytes: 0,
                in_flight_bytes: 0,
                ce_packets: 0,
            });
        }
    }
    sample(packets).sent_at + RTT
}

//= spec/04-congestion.md#probe-timeout
//= type=test
//# A single probe timeout MUST NOT change the rate.
#[test]
fn one_probe_timeout_is_nothing_and_the_second_halves() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, RTT, now);
    let rate = controller.pacing_rate();
    controller.on_probe_timeout(now, 1);
    assert_eq!(controller.pacing_rate(), rate);
    controller.on_probe_timeout(now, 2);
    assert_eq!(controller.pacing_rate(), rate.scaled(0.5));
}

//= spec/04-congestion.md#probe-timeout
//= type=test
//# While nothing but losses is heard of for two round trips, the rate MUST be halved, again and
//# again.
#[test]
fn losses_without_an_acknowledgement_halve_the_rate_every_two_round_trips() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, RTT, now);
    let heard = run(&mut controller, now, 0, 400, 384_000.0) - Duration::from_millis(4);
    let rate = controller.pacing_rate();
    let lost = |controller: &mut Adaptive, now| {
        controller.on_loss(&LossSample {
            now,
            lost: &[],
            in_flight_bytes: 0,
        });
        controller.pacing_rate()
    };
    assert_eq!(lost(&mut controller, heard + RTT), rate);
    assert_eq!(lost(&mut controller, heard + RTT * 9 / 4), rate.scaled(0.5));
    assert_eq!(
        lost(&mut controller, heard + RTT * 13 / 4),
        rate.scaled(0.5)
    );
    let again = lost(&mut controller, heard + RTT * 5);
    assert!(again < rate.scaled(0.26), "{again} of {rate}");
}

#[test]
fn a_loss_after_an_idle_time_is_no_silence() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, RTT, now);
    let heard = run(&mut controller, now, 0, 400, 384_000.0);
    let rate = controller.pacing_rate();
    let sent_at = heard + Duration::from_secs(5);
    let packet = PacketSample {
        index: 400,
        bytes: MTU,
        sent_at,
        app_limited: true,
    };
    controller.on_sent(&SentSample {
        packet,
        in_flight_bytes: u64::from(MTU),
    });
    controller.on_loss(&LossSample {
        now: sent_at + RTT * 3 / 2,
        lost: &[packet],
        in_flight_bytes: 0,
    });
    assert_eq!(controller.pacing_rate(), rate);
}

//= spec/04-congestion.md#floor
//= type=test
//# The rate MUST NOT fall below two packets per round trip.
#[test]
fn silence_leaves_two_packets_per_round_trip() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, RTT, now);
    for count in 1..100 {
        controller.on_probe_timeout(now, count);
    }
    let per_rtt = controller.pacing_rate().bytes_in(RTT);
    assert!((2399..=2400).contains(&per_rtt), "{per_rtt}");
    assert!(controller.window() >= 4 * u64::from(MTU));
}

#[test]
fn delivery_makes_the_rate_grow() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, RTT, now);
    let before = controller.pacing_rate();
    let rate = before.bytes_per_second() as f64;
    run(&mut controller, now, 0, 400, rate);
    assert!(
        controller.pacing_rate() > before.scaled(1.5),
        "{}",
        controller.pacing_rate()
    );
}

//= spec/04-congestion.md#growth
//= type=test
//# The rate MUST NOT grow after a round in which the application, and not the rate, was the limit.
#[test]
fn an_idle_application_does_not_raise_the_rate() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, RTT, now);
    let start = run(&mut controller, now, 0, 400, 384_000.0);
    controller.state = State::Delay(Delay::new(controller.seconds(start)));
    let before = controller.model.rate;
    let round = Round {
        now: controller.seconds(start),
        acked: 10,
        lost: 0,
        arrival: 1e5,
        spanned: 1e5,
        sent_rate: before,
        app_limited: true,
        left_rate: before,
        half_full: false,
        excess: false,
        ce: 0,
        overdone: false,
    };
    controller.model.delay.queuing_delay = 0.0;
    controller.steer(&round);
    assert!(controller.model.rate <= before);
}

#[test]
fn a_max_rate_bounds_the_rate_at_once() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, RTT, now);
    let max_rate = Bandwidth::from_bits_per_second(80_000);
    controller.set_max_rate(Some(max_rate));
    assert_eq!(controller.pacing_rate(), max_rate);
    controller.set_max_rate(None);
    assert!(controller.pacing_rate() > max_rate);
}

//= spec/04-congestion.md#trains
//= type=test
//# In START, a sender held by the user's maximum rate SHOULD NOT send trains: they leave faster than it.
#[test]
fn start_sends_no_train_at_the_max_rate() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, RTT, now);
    controller.set_max_rate(Some(Bandwidth::from_bits_per_second(80_000)));
    assert_eq!(
        (controller.train_due(now, 100), controller.train_at()),
        (None, None)
    );
    controller.set_max_rate(None);
    assert!(controller.train_due(now, 100).is_some());
}

#[test]
fn absurd_samples_leave_finite_answers() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, Duration::ZERO, now);
    for (span, packets) in [(Duration::ZERO, 8), (Duration::from_nanos(1), 8), (RTT, 0)] {
        controller.on_train(&TrainSample {
            now,
            packets,
            bytes: u64::MAX,
            span,
        });
    }
    let end = run(&mut controller, now, 0, 200, 1e6);
    controller.on_probe_timeout(end, u32::MAX);
    assert!(controller.pacing_rate() < Bandwidth::MAX);
    assert!(controller.window() < u64::MAX / 2 && controller.send_quantum() <= 64_000);
}

//= spec/04-congestion.md#trains
//= type=test
//# While none of the last trains told anything, they SHOULD come ten times as rarely: what buffers no packet drops all but their first.
#[test]
fn trains_of_which_nothing_is_heard_come_rarely() {
    let mut trains = Trains::new(0.0);
    let unheard = trains.spacing(0.2);
    trains.on_train(1.0, 1e6, 0.2);
    assert_eq!(trains.spacing(0.2), 0.2);
    assert!((unheard / 0.2 - 10.0).abs() < 1e-9);
}

#[test]
fn a_round_does_not_wait_for_a_packet_that_was_an_experiment() {
    let mut rounds = Rounds::new(0.0, 1e6);
    for index in 0..10 {
        rounds.on_sent(0.0, index, u64::from(MTU), false);
    }
    rounds.start_next_round(0.1, 1e6, Kind::Usual);
    for index in 0..9 {
        rounds.on_acked(index);
    }
    assert!(rounds.take_resolved().is_none());
    rounds.on_discarded(9);
    let sent_round = rounds.take_resolved().unwrap();
    assert_eq!((sent_round.acked, sent_round.lost), (9, 0));
}

//= spec/04-congestion.md#spurious-loss
//= type=test
//# A packet that arrives after it was declared lost MUST be taken off the losses of its round.
#[test]
fn a_loss_that_was_none_does_not_count_in_its_round() {
    let now = epoch();
    let mut controller = Adaptive::new(MTU, RTT, now);
    let packets: Vec<_> = (0..10)
        .map(|index| PacketSample {
            index,
            bytes: MTU,
            sent_at: now,
            app_limited: false,
        })
        .collect();
    for &packet in &packets {
        let in_flight_bytes = (packet.index + 1) * u64::from(MTU);
        controller.on_sent(&SentSample {
            packet,
            in_flight_bytes,
        });
    }
    let rounds = |controller: &mut Adaptive| {
        let rounds = &mut controller.model.rounds;
        rounds.start_next_round(0.1, 1e6, Kind::Usual);
        (3..10).for_each(|index| rounds.on_acked(index));
        rounds
            .take_resolved()
            .map(|round| (round.acked, round.lost))
    };
    controller.on_loss(&LossSample {
        now: now + RTT,
        lost: &packets[..3],
        in_flight_bytes: 0,
    });
    controller.on_spurious_loss(now + RTT, &packets[..2]);
    assert_eq!(rounds(&mut controller), Some((9, 1)));
}
