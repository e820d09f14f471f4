use super::*;

fn moderation(since: Instant) -> Moderation {
    Moderation {
        since,
        count: 0,
        pours: false,
    }
}

/// Looks every `every` that find `datagrams` each, for 50 ms; the last answer as a wait.
fn look(every: Duration, datagrams: usize) -> Option<Duration> {
    let start = clock::now();
    let mut moderation = moderation(start);
    let mut now = start;
    let mut answer = None;
    while now < start + 5 * COUNTED {
        now += every;
        answer = moderation.on_look(now, datagrams).map(|at| at - now);
    }
    answer
}

#[test]
fn packets_that_pour_in_one_by_one_are_let_gather() {
    assert_eq!(look(Duration::from_micros(50), 1), Some(MODERATED));
}

#[test]
fn a_trickle_is_looked_at_at_once() {
    assert_eq!(look(Duration::from_millis(1), 2), None);
}

#[test]
fn what_comes_in_heaps_is_not_waited_for() {
    assert_eq!(look(Duration::from_micros(400), GATHERED), None);
}

#[test]
fn a_pour_is_forgotten_after_a_pause() {
    let start = clock::now();
    let mut moderation = moderation(start);
    for step in 1..=400 {
        moderation.on_look(start + step * Duration::from_micros(50), 1);
    }
    assert!(moderation.pours);
    assert_eq!(moderation.on_look(start + Duration::from_secs(1), 1), None);
}
