//! The progress bar: drawn on a terminal, silent elsewhere. What it shows is counted by others.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rp_protocol::Connection;
use rp_transfer::session::Progress;

/// How often the bar follows the copy: often enough to look alive.
const INTERVAL: Duration = Duration::from_millis(100);

/// With a known size.
const SIZED: &str =
    "{prefix:20!} {percent:>3}% [{wide_bar}] {bytes:>11} {bytes_per_sec:>13} {eta_precise} {msg}";

/// Without.
const UNSIZED: &str = "{prefix:20!} {spinner} {bytes:>11} {bytes_per_sec:>13} {msg}";

/// A bar for one file.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    sized: bool,
}

impl Bar {
    /// A bar called `name` on the terminal, or none where standard error is not one.
    pub fn new(name: &str, quiet: bool) -> Self {
        let target = match quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(None, target)
            .with_style(style(UNSIZED))
            .with_prefix(name.to_owned());
        Self { bar, sized: false }
    }

    /// Follows a copy for as long as it is awaited.
    pub async fn follow(&mut self, progress: &Progress, connection: &Connection) {
        if self.bar.is_hidden() {
            return std::future::pending().await;
        }
        loop {
            self.update(progress);
            if let Some(percent) = repeated(connection) {
                self.bar.set_message(format!("{percent:.1}% sent again"));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn update(&mut self, progress: &Progress) {
        if let (Some(size), false) = (progress.size(), self.sized) {
            self.bar.set_length(size);
            self.bar.set_style(style(SIZED));
            self.sized = true;
        }
        self.bar.set_position(progress.bytes());
    }

    /// Leaves the bar as it was last.
    pub fn finish(&mut self, progress: &Progress) {
        self.update(progress);
        self.bar.abandon();
    }
}

/// The share of packets that had to be sent again, in percent, once any was sent.
fn repeated(connection: &Connection) -> Option<f64> {
    let stats = connection.stats();
    let sent: u64 = stats.paths.iter().map(|path| path.sent_packets).sum();
    let lost: u64 = stats.paths.iter().map(|path| path.lost_packets).sum();
    (lost > 0).then(|| lost as f64 * 100.0 / sent.max(1) as f64)
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style
        .expect("the templates above are well formed")
        .with_key(
            "eta_precise",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let seconds = state.eta().as_secs();
                // A terminal that takes no more text is no reason to stop a copy.
                let _ = write!(out, "{}:{:02} ETA", seconds / 60, seconds % 60);
            },
        )
        .progress_chars("=> ")
}
