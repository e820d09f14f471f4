//! Tests of what there is to send, without a network.

use super::*;

#[test]
fn sizes_of_objects_keep_their_bounds_and_their_mean() {
    assert_eq!(size(0.0), 10_000);
    assert!(size(0.999_999_999) <= 5_000_000);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let count = 200_000;
    let sum: u64 = (0..count).map(|_| size(rng.random())).sum();
    let mean = sum as f64 / f64::from(count);
    assert!((mean / mean_size() - 1.0).abs() < 0.03, "{mean}");
}

#[test]
fn web_objects_come_at_the_load_that_was_asked_and_the_same_seed_repeats() {
    let load = Bandwidth::from_bits_per_second(20_000_000);
    let start = Instant::now();
    let after = |seed| {
        let mut source = Source::new(Application::Web(load), start, 1200, seed);
        source.available(start + Duration::from_secs(600))
    };
    let wanted = load.bytes_in(Duration::from_secs(600)) as f64;
    let share = after(1) as f64 / wanted;
    assert!((0.9..1.1).contains(&share), "{share}");
    assert_eq!(after(1), after(1));
    assert_ne!(after(1), after(2));
}

#[test]
fn bursts_are_on_and_off_by_the_clock() {
    let start = Instant::now();
    let bursts = Application::Bursts {
        on: Duration::from_secs(2),
        off: Duration::from_secs(1),
    };
    let mut source = Source::new(bursts, start, 1200, 1);
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(source.available(at(1999)), u64::MAX);
    assert_eq!(source.available(at(2500)), 0);
    assert_eq!(source.available_at(at(2500)), at(3000));
}

#[test]
fn answers_come_as_often_as_the_latency_lab_asks() {
    let start = Instant::now();
    let mut source = Source::new(Application::Answers, start, 1200, 1);
    assert_eq!(source.available(start), 0);
    let mut now = start;
    while source.available(now) == 0 {
        now = source.available_at(now);
    }
    assert_eq!((now - start).as_millis(), 20);
    assert_eq!(
        source.available(start + Duration::from_millis(2010)),
        100_000 + 800_000 + 1_000_000
    );
}
