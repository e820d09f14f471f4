//! How a copy is shown while it runs: lines on a terminal, objects for a program, or not at all. What is shown
//! is counted by others.

mod bars;
pub mod json;

use std::time::{Duration, Instant};

use rp_protocol::Connection;
use rp_transfer::{batch::Report, session::Progress};

use self::{bars::Bars, json::Out};

/// How often a terminal follows the copy: often enough to look alive.
const INTERVAL: Duration = Duration::from_millis(100);

/// How often a program is told.
const JSON_INTERVAL: Duration = Duration::from_secs(1);

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Watched<'a> {
    /// How far the copy is.
    pub progress: &'a Progress,
    /// What has failed.
    pub report: &'a Report,
    /// What it goes over.
    pub connection: &'a Connection,
}

/// Shows a copy.
#[derive(Debug)]
pub struct Screen {
    how: How,
    /// Failures that were told.
    told: usize,
    begun: Instant,
}

#[derive(Debug)]
enum How {
    Bars(Box<Bars>),
    Json(Out),
    Nothing,
}

impl Screen {
    /// A copy called `name`, by lines on the terminal unless it is to be quiet or there is none, or by objects.
    pub fn new(name: &str, quiet: bool, json: Option<Out>) -> Self {
        let how = match (json, quiet) {
            (Some(out), _) => How::Json(out),
            (None, true) => How::Nothing,
            (None, false) => match Bars::new(name) {
                Some(bars) => How::Bars(Box::new(bars)),
                None => How::Nothing,
            },
        };
        Self {
            how,
            told: 0,
            begun: Instant::now(),
        }
    }

    /// Follows a copy for as long as it is awaited.
    pub async fn follow(&mut self, watched: Watched<'_>) -> std::convert::Infallible {
        let interval = match self.how {
            How::Bars(_) => INTERVAL,
            How::Json(_) => JSON_INTERVAL,
            How::Nothing => return std::future::pending().await,
        };
        loop {
            tokio::time::sleep(interval).await;
            self.update(watched);
        }
    }

    fn update(&mut self, watched: Watched<'_>) {
        match &mut self.how {
            How::Bars(bars) => bars.update(watched.progress, watched.connection),
            How::Json(out) => {
                self.told += out.failures(&watched.report.failures_from(self.told));
                out.progress(watched.progress, self.begun.elapsed(), watched.connection);
            }
            How::Nothing => {}
        }
    }

    /// Leaves the lines as they were last, or tells the rest.
    pub fn finish(&mut self, watched: Watched<'_>) {
        self.update(watched);
        if let How::Bars(bars) = &self.how {
            bars.abandon();
        }
    }

    /// How many failures were told.
    pub fn told(&self) -> usize {
        self.told
    }
}
