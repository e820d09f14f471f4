//! Keeps a flood of one message out of the log: what a client can repeat at will is written a number of
//! times, then counted, and the count is written. The numbers of a program count all of them.

use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{
    Event, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
    info,
};
use tracing_subscriber::layer::{Context, Filter};

/// How often one message is written within a [`PERIOD`]: a person reads no more, and more say nothing new.
pub(super) const MOST: u32 = 100;

/// After which it is written anew.
const PERIOD: Duration = Duration::from_secs(10);

/// One message's recent history.
#[derive(Debug)]
pub(super) struct Window {
    text: String,
    since: Instant,
    written: u32,
    kept: u64,
}

impl Window {
    pub(super) fn new(text: String, now: Instant) -> Self {
        Self {
            text,
            since: now,
            written: 0,
            kept: 0,
        }
    }

    /// Whether the message is written once more.
    pub(super) fn admits(&mut self) -> bool {
        if self.written < MOST {
            self.written += 1;
            return true;
        }
        self.kept += 1;
        false
    }

    /// Whether the message may be written anew.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= PERIOD
    }
}

/// By the place in our code that logs it; there are as many as such places.
static WINDOWS: LazyLock<Mutex<HashMap<Identifier, Window>>> = LazyLock::new(Mutex::default);

fn windows() -> MutexGuard<'static, HashMap<Identifier, Window>> {
    WINDOWS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets through what is no flood.
#[derive(Debug)]
pub(super) struct FloodFilter;

impl<S: Subscriber> Filter<S> for FloodFilter {
    fn enabled(&self, _metadata: &Metadata<'_>, _context: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _context: &Context<'_, S>) -> bool {
        // Whoever asked for debugging wants everything.
        if *event.metadata().level() > tracing::Level::INFO {
            return true;
        }
        let mut windows = windows();
        let window = windows
            .entry(event.metadata().callsite())
            .or_insert_with(|| Window::new(message(event), Instant::now()));
        window.admits()
    }
}

fn message(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0
}

/// Writes from time to time how often messages were kept back. Ends only if dropped.
pub async fn report_floods() {
    let mut looks = interval(PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        for (text, count) in take_over(&mut windows(), Instant::now()) {
            info!(count, text, "the same again, not written one by one");
        }
    }
}

/// Forgets what is over; what was kept back is given.
pub(super) fn take_over(
    windows: &mut HashMap<Identifier, Window>,
    now: Instant,
) -> Vec<(String, u64)> {
    let over = windows.extract_if(|_, window| window.is_over(now));
    let kept = over.filter(|(_, window)| window.kept > 0);
    kept.map(|(_, window)| (window.text, window.kept)).collect()
}
