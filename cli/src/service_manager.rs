//! What the service manager, where one wants to know, is told of a program: that it is ready, reads its settings
//! again, lives, ends. Nothing of this is done where nobody started the program as a service.

use std::{future::pending, time::Duration};

use sd_notify::NotifyState;
use tokio::time::interval;

use crate::{exit_code::Failure, reload::say_unchanged};

/// It does its work from here on; `doing` is what `systemctl status` shows.
pub fn ready(doing: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&in_one_line(doing))]);
}

/// Reads the settings again by `reload`, and says that it does and how that went. Those in force are kept where
/// it fails.
pub fn reload(reload: impl FnOnce() -> Result<(), Failure>) {
    let mut states = vec![NotifyState::Reloading];
    // Which of two reloads this is stands in its time: a manager that waits for ours asks for it.
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
    let outcome = match reload() {
        Ok(()) => "settings read again".to_owned(),
        Err(failure) => {
            say_unchanged(&failure);
            format!("settings stay as they are: {failure}")
        }
    };
    ready(&outcome);
}

/// It takes nothing new and ends once what is under way has ended, or `limit` is over.
pub fn stopping(limit: Duration) {
    let doing = format!("ending when what is under way has ended, or after {limit:?}");
    tell(&[NotifyState::Stopping, NotifyState::Status(&doing)]);
}

/// Says, where somebody wants to know, that the runtime is alive. Ends only if dropped.
pub async fn keep_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return pending().await;
    };
    let mut ticks = interval(limit / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// A message is lines of words, so a text has to be one.
fn in_one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}
