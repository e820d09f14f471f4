//! Draining in virtual time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[tokio::test(start_paused = true)]
async fn draining_ends_when_nothing_is_left() {
    let left = AtomicU64::new(3);
    let before = Instant::now();
    let mut signals = Signals::new().unwrap();
    signals
        .drain(Duration::from_secs(60), || {
            left.fetch_sub(1, Ordering::Relaxed) - 1
        })
        .await;
    assert!(before.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn draining_ends_after_its_time() {
    let before = Instant::now();
    let mut signals = Signals::new().unwrap();
    signals.drain(Duration::from_secs(60), || 1).await;
    assert_eq!(before.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn draining_stops_the_work_that_takes_what_is_new() {
    struct Dropped(Arc<AtomicU64>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(1, Ordering::Relaxed);
        }
    }
    let (draining, dropped) = (Draining::default(), Arc::new(AtomicU64::new(0)));
    let held = Dropped(dropped.clone());
    let work = async move {
        let _held = held;
        std::future::pending::<()>().await;
    };
    tokio::spawn(draining.clone().stops(work));
    tokio::task::yield_now().await;
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    draining.start();
    draining.on().await;
    tokio::task::yield_now().await;
    assert!(draining.is_on());
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}
