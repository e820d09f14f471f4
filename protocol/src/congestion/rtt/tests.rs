use super::*;
use crate::congestion::testing::epoch;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn first_sample_replaces_the_guess() {
    let mut rtt = Rtt::new(ms(200));
    assert_eq!(rtt.pto(ms(0)), ms(600));
    rtt.update(epoch(), ms(5), ms(40));
    assert_eq!(
        (rtt.smoothed(), rtt.var(), rtt.min()),
        (ms(40), ms(20), ms(40))
    );
}

#[test]
fn samples_are_smoothed_by_an_eighth() {
    let mut rtt = Rtt::new(ms(200));
    rtt.update(epoch(), ms(0), ms(80));
    rtt.update(epoch(), ms(0), ms(160));
    assert_eq!(rtt.smoothed(), ms(90));
    assert_eq!(rtt.var(), ms(50));
    assert_eq!(rtt.latest(), ms(160));
    assert_eq!(rtt.min(), ms(80));
}

//= spec/04-congestion.md#round-trip-time
//= type=test
//# An ACK delay MUST NOT lower a sample below the minimum RTT.
#[test]
fn a_lying_ack_delay_cannot_shrink_the_rtt() {
    let mut rtt = Rtt::new(ms(200));
    rtt.update(epoch(), ms(0), ms(100));
    rtt.update(epoch(), ms(50), ms(110));
    assert_eq!(rtt.latest(), ms(110));
    rtt.update(epoch(), ms(10), ms(130));
    assert_eq!(rtt.latest(), ms(120));
    rtt.update(epoch(), ms(500), ms(130));
    assert_eq!(rtt.latest(), ms(130));
}

//= spec/04-congestion.md#round-trip-time
//= type=test
//# A sender SHOULD forget a minimum RTT that is older than 30 s.
#[test]
fn the_minimum_of_a_path_that_has_become_longer_is_forgotten() {
    let start = epoch();
    let (short, long) = (Duration::from_millis(2), Duration::from_millis(100));
    let mut rtt = Rtt::new(long);
    for second in 0..60 {
        let sample = if second < 10 { short } else { long };
        rtt.update(start + Duration::from_secs(second), Duration::ZERO, sample);
        let expected = if second < 30 { short } else { long };
        assert_eq!(rtt.min(), expected, "{second} s");
    }
}

#[test]
fn the_minimum_is_forgotten_over_an_idle_time_too() {
    let start = epoch();
    let (short, long) = (Duration::from_millis(2), Duration::from_millis(100));
    let mut rtt = Rtt::new(long);
    rtt.update(start, Duration::ZERO, short);
    rtt.update(start + Duration::from_secs(40), Duration::ZERO, long);
    assert_eq!(rtt.min(), long);
}
