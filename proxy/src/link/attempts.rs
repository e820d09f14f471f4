//! Attempts to connect, one after the other, until one succeeds. What the connection is for is
//! `link`'s business.

use std::{
    fmt,
    future::Future,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tracing::info;

/// First pause after a failed attempt, doubled up to [`MAX_BACK_OFF`]; each pause is drawn
/// between half and all of it, so that clients of a restarted server do not return in step.
const MIN_BACK_OFF: Duration = Duration::from_secs(2);

/// Longest pause between attempts that nobody waits for.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// Least time between the starts of two attempts, however many requests ask for one.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Attempts at once. An attempt repeats its first packet in ever longer pauses, so a request that
/// comes late in one is better served by a fresh one beside it: of three, started a second apart, none is silent
/// with the others for more than two seconds.
const MAX_ATTEMPTS: usize = 3;

/// Calls `connect` until it gives a connection, with growing pauses, which `wanted` cuts short; tells
/// `failed` why an attempt gave none.
pub(super) async fn reconnect<C, F, T, E>(connect: &C, wanted: &Notify, failed: impl Fn(&str)) -> T
where
    C: Fn() -> F + Sync,
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: fmt::Display + Send + 'static,
{
    let mut attempts = JoinSet::new();
    let mut back_off = MIN_BACK_OFF;
    // When the next attempt starts, and when it may start at the earliest.
    let mut due = Some(Instant::now());
    let mut earliest = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(due.unwrap_or(earliest)), if due.is_some() => {
                due = None;
                earliest = Instant::now() + MIN_INTERVAL;
                attempts.spawn(connect());
            }
            Some(ended) = attempts.join_next(), if !attempts.is_empty() => {
                let why = match ended {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err(error)) => error.to_string(),
                    Err(aborted) => aborted.to_string(),
                };
                info!(error = why, "cannot reach the server");
                failed(&why);
                if attempts.is_empty() && due.is_none() {
                    due = Some((Instant::now() + jittered(back_off)).max(earliest));
                    back_off = (back_off * 2).min(MAX_BACK_OFF);
                }
            }
            () = wanted.notified(), if attempts.len() < MAX_ATTEMPTS => {
                due = Some(due.map_or(earliest, |due| due.min(earliest)));
            }
        }
    }
}

/// Between half and all of `pause`. The standard library's hasher keys are random enough for it.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8);
    let half = pause / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests;
