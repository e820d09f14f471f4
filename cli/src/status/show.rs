//! `rpclient status` and `rpserver status`: asks the running program, once or every second.
//! What it looks like is in `render`.

use std::{
    io::{IsTerminal as _, stdout},
    path::Path,
    time::Duration,
};

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Rates, Status, render};
use crate::{
    args::StatusArgs,
    control::{Caller, Command},
    exit_code::Failure,
    run,
};

/// Between two looks of `--watch`.
const PERIOD: Duration = Duration::from_secs(1);

/// Between the two looks of which rates are made when nothing is watched: long enough for several
/// batches of packets, short enough for a person.
const MOMENT: Duration = Duration::from_millis(250);

/// Moves to the top of the terminal and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// A status and what came of two, as `--json` says it.
#[derive(Serialize)]
struct Sample<'a> {
    #[serde(flatten)]
    status: &'a Status,
    rates: Option<Rates>,
}

/// Shows the numbers of the program whose control socket is at `path`.
///
/// # Errors
/// It does not answer.
pub async fn show(path: &Path, how: &StatusArgs) -> Result<(), Failure> {
    let mut caller = Caller::connect(path).await?;
    let mut before = ask(&mut caller).await?;
    if !how.watch {
        sleep(MOMENT).await;
        let status = ask(&mut caller).await?;
        say(&before, &status, how);
        return Ok(());
    }
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            stopped = run::stopped() => return stopped,
        }
        let status = ask(&mut caller).await?;
        if !say(&before, &status, how) {
            return Err(Failure::broken_pipe());
        }
        before = status;
    }
}

async fn ask(caller: &mut Caller) -> Result<Status, Failure> {
    Ok(caller.call(&Command::Status {}).await?)
}

/// Whether anybody heard it.
fn say(before: &Status, status: &Status, how: &StatusArgs) -> bool {
    let rates = Rates::between(before, status);
    let text = if how.json {
        // Numbers and texts, which JSON can say.
        serde_json::to_string(&Sample { status, rates }).unwrap_or_default()
    } else {
        let clear = if how.watch && stdout().is_terminal() {
            CLEAR
        } else {
            ""
        };
        format!("{clear}{}", render(status, rates.as_ref()))
    };
    run::said(text.trim_end())
}
