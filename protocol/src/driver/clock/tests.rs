use std::future::poll_fn;

use super::*;

async fn wait(timer: &mut Timer, deadline: Instant) -> u32 {
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        let now = now();
        if now >= deadline {
            return Poll::Ready(());
        }
        timer.arm(cx, deadline, now);
        Poll::Pending
    })
    .await;
    polls
}

#[tokio::test]
async fn a_deadline_wakes_its_task_once() {
    let mut timer = Timer::new();
    for micros in [1, 50, 300, 2000] {
        let polls = wait(&mut timer, now() + Duration::from_micros(micros)).await;
        // The poll before, the wake-up, and one for a stale edge of the round before.
        assert!(polls <= 4, "{polls} polls for {micros} us");
    }
}

#[tokio::test]
async fn a_deadline_may_move_both_ways() {
    let mut timer = Timer::new();
    let start = now();
    poll_fn(|cx| {
        timer.arm(cx, start + Duration::from_secs(3600), start);
        timer.arm(cx, start + Duration::from_millis(1), start);
        timer.arm(cx, start + Duration::from_millis(3), start);
        Poll::Ready(())
    })
    .await;
    wait(&mut timer, start + Duration::from_millis(3)).await;
    assert!(now() >= start + Duration::from_millis(3));
}

#[tokio::test]
async fn a_deadline_already_past_wakes_at_once() {
    let mut timer = Timer::new();
    let past = now();
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        timer.arm(cx, past, now());
        Poll::Pending
    })
    .await;
}
