//! Idle time, in virtual time.

use super::*;

async fn ends_after(idle: Duration, moves: &[u64]) -> Duration {
    let has_moved = AtomicBool::new(false);
    let begin = Instant::now();
    let moving = async {
        for at in moves {
            tokio::time::sleep_until(begin + Duration::from_secs(*at)).await;
            has_moved.store(true, Relaxed);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = silence(&has_moved, idle, || ()) => begin.elapsed(),
        () = moving => unreachable!("it never ends"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_association_is_idle_after_five_minutes_of_silence_and_never_within_two() {
    //= spec/10-proxy.md#udp
    //= type=test
    //# An exit SHOULD reset an association with code 2 when no datagram has passed in either direction for
    //# 5 minutes.
    //= spec/10-proxy.md#udp
    //= type=test
    //# An exit MUST NOT do so within 2 minutes (RFC 4787, REQ-5).
    let seconds = Duration::from_secs;
    assert_eq!(ends_after(DEFAULT_UDP_IDLE, &[]).await, seconds(300));
    for last in [1, 74, 76, 299, 400] {
        let end = ends_after(DEFAULT_UDP_IDLE, &[last.min(250), last]).await;
        let after = end - seconds(last);
        assert!(
            after >= seconds(300) && after <= seconds(375),
            "{last}: {after:?}"
        );
    }
    for typed in [0, 1, 119] {
        let end = ends_after(seconds(typed), &[50]).await;
        assert!(end - seconds(50) >= seconds(120), "{typed}: {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_grow_old_once_in_each_idle_time() {
    let has_moved = AtomicBool::new(false);
    let periods = std::cell::Cell::new(0);
    let moving = async {
        let mut minutes = interval(Duration::from_secs(60));
        for _ in 0..=30 {
            minutes.tick().await;
            has_moved.store(true, Relaxed);
        }
    };
    tokio::select! {
        () = silence(&has_moved, DEFAULT_UDP_IDLE, || periods.set(periods.get() + 1)) => {}
        () = moving => {}
    }
    assert!((5..=6).contains(&periods.get()), "{}", periods.get());
}
