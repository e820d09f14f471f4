use super::*;
use crate::{
    congestion::PacketSample,
    path::sent_packets::{SentFrames, SentPacket},
    testing::epoch,
};

const RTT: Duration = Duration::from_millis(100);

fn rtt(now: Instant) -> Rtt {
    let mut rtt = Rtt::new(RTT);
    rtt.update(now, Duration::ZERO, RTT);
    rtt
}

fn packet(index: u64, sent_at: Instant) -> SentPacket {
    SentPacket {
        sample: PacketSample {
            index,
            bytes: 1200,
            sent_at,
            app_limited: false,
        },
        in_flight: true,
        ack_eliciting: true,
        lost_at: None,
        ecn: false,
        frames: SentFrames::new(),
    }
}

/// Ten packets, one a millisecond, of which `acked` were acknowledged one RTT after the last.
fn sent(start: Instant, acked: &[u64]) -> SentPackets {
    let mut sent = SentPackets::default();
    for index in 0..10 {
        sent.insert(index, packet(index, start + Duration::from_millis(index)));
    }
    for &number in acked {
        sent.acknowledge(number).expect("it was sent");
    }
    sent
}

//= spec/03-reliability.md#loss-detection
//= type=test
//# A sender MUST declare a packet lost when a later packet was acknowledged and the packet was sent
//# longer ago than the larger of the latest and the smoothed RTT plus the reorder window.
#[test]
fn overtaken_packet_is_lost_only_after_the_reorder_window() {
    let start = epoch();
    let (sent, rtt) = (sent(start, &[9]), rtt(start));
    let mut loss = LossDetector::new();
    loss.on_ack(start + RTT, 9, &rtt);
    let window = loss.reorder_window(&rtt);
    assert_eq!(window, RTT / 8);
    assert!(loss.detect(start + RTT, &sent, &rtt).is_empty());
    assert_eq!(
        loss.due_at(&sent, &rtt, Duration::ZERO),
        Some(start + RTT + window)
    );
    assert_eq!(loss.detect(start + RTT + window, &sent, &rtt), vec![0]);
    let later = start + RTT + window + Duration::from_millis(4);
    assert_eq!(loss.detect(later, &sent, &rtt), vec![0, 1, 2, 3, 4]);
}

#[test]
fn packets_after_the_newest_acknowledged_are_never_lost_by_time() {
    let start = epoch();
    let (sent, rtt) = (sent(start, &[0]), rtt(start));
    let mut loss = LossDetector::new();
    loss.on_ack(start + RTT, 0, &rtt);
    assert!(loss.detect(start + 10 * RTT, &sent, &rtt).is_empty());
}

//= spec/03-reliability.md#loss-detection
//= type=test
//# When a packet declared lost is acknowledged, the sender MUST double the reorder window, up to the
//# smoothed RTT.
#[test]
fn spurious_loss_doubles_the_window_up_to_the_rtt() {
    let start = epoch();
    let rtt = rtt(start);
    let mut loss = LossDetector::new();
    for round in 1..=6 {
        loss.on_spurious(start + RTT * round, 1, &rtt);
        let doubled = (RTT / 8) * (1 << round.min(3));
        assert_eq!(loss.reorder_window(&rtt), doubled.min(RTT), "round {round}");
    }
}

#[test]
fn many_spurious_losses_of_one_round_count_once() {
    let start = epoch();
    let rtt = rtt(start);
    let mut loss = LossDetector::new();
    for _ in 0..50 {
        loss.on_spurious(start, 1, &rtt);
    }
    assert_eq!(loss.reorder_window(&rtt), RTT / 4);
}

#[test]
fn window_narrows_again_after_sixteen_clean_round_trips() {
    let start = epoch();
    let rtt = rtt(start);
    let mut loss = LossDetector::new();
    loss.on_spurious(start, 1, &rtt);
    loss.on_ack(start + RTT * 15, 0, &rtt);
    assert_eq!(loss.reorder_window(&rtt), RTT / 4);
    loss.on_ack(start + RTT * 16, 0, &rtt);
    assert_eq!(loss.reorder_window(&rtt), RTT / 8);
}

//= spec/03-reliability.md#loss-detection
//= type=test
//# The reorder window starts at one eighth of the minimum RTT, but MUST NOT be below 1 ms.
#[test]
fn window_has_a_floor_on_short_paths() {
    let mut rtt = Rtt::new(RTT);
    rtt.update(epoch(), Duration::ZERO, Duration::from_micros(80));
    assert_eq!(
        LossDetector::new().reorder_window(&rtt),
        Duration::from_millis(1)
    );
}

#[test]
fn probe_interval_doubles_and_stays_bounded() {
    let start = epoch();
    let (sent, rtt) = (sent(start, &[]), rtt(start));
    let mut loss = LossDetector::new();
    let mut now = start;
    loss.on_sent(now);
    let mut gaps = Vec::new();
    for _ in 0..8 {
        let due = loss
            .due_at(&sent, &rtt, Duration::ZERO)
            .expect("packets are in flight");
        gaps.push(due - now);
        now = due;
        assert!(loss.on_timeout(now, &sent, &rtt, Duration::ZERO));
    }
    assert_eq!(gaps[1], gaps[0] * 2);
    assert!(gaps.iter().all(|gap| *gap <= MAX_PROBE_INTERVAL));
    assert_eq!(loss.probe_count(), 8);
}
