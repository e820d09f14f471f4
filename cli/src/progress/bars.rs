//! Lines on a terminal: one for the whole copy, and above it one for each large file under way. They fit the
//! width of the terminal, down to 40 columns.

use std::sync::Arc;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rp_protocol::Connection;
use rp_transfer::{path::printable_path, session::Progress};

/// Most files that have a line.
const MAX_LINES: usize = 6;

/// Least width for the lines of that kind.
const WIDE: u16 = 100;
const MEDIUM: u16 = 64;

/// What a line looks like: with a known size, and without.
struct Look {
    sized: &'static str,
    unsized_: &'static str,
}

const LOOKS: [Look; 3] = [
    Look {
        sized: "{prefix:24!} {percent:>3}% [{wide_bar}] {bytes:>11} {bytes_per_sec:>13} {left:>8} {msg:24!}",
        unsized_: "{prefix:24!} {spinner} {bytes:>11} {bytes_per_sec:>13} {msg:24!}",
    },
    Look {
        sized: "{prefix:16!} {percent:>3}% [{wide_bar}] {bytes_per_sec:>13} {left:>8} {msg:8!}",
        unsized_: "{prefix:16!} {spinner} {bytes:>11} {bytes_per_sec:>13} {msg:8!}",
    },
    Look {
        sized: "{prefix:10!} {percent:>3}% {bytes_per_sec:>13} {left:>7}",
        unsized_: "{prefix:10!} {bytes:>11} {bytes_per_sec:>13}",
    },
];

/// The lines of one copy.
#[derive(Debug)]
pub(super) struct Bars {
    lines: MultiProgress,
    total: Line,
    files: Vec<(Arc<Progress>, Line)>,
    look: usize,
}

#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    is_sized: bool,
}

impl Line {
    fn new(bar: ProgressBar, name: &str, look: usize) -> Self {
        bar.set_style(style(LOOKS[look].unsized_));
        bar.set_prefix(name.to_owned());
        Self {
            bar,
            is_sized: false,
        }
    }

    fn update(&mut self, progress: &Progress, look: usize) {
        if let Some(size) = progress.size()
            && !self.is_sized
        {
            self.bar.set_length(size);
            self.bar.set_style(style(LOOKS[look].sized));
            self.is_sized = true;
        }
        self.bar.set_position(progress.bytes());
    }
}

impl Bars {
    /// Lines on standard error, the last of them called `name`; `None` where that is no terminal.
    pub(super) fn new(name: &str) -> Option<Self> {
        let target = ProgressDrawTarget::stderr();
        if target.is_hidden() {
            return None;
        }
        let look = match columns() {
            Some(..MEDIUM) => 2,
            Some(MEDIUM..WIDE) => 1,
            _ => 0,
        };
        let lines = MultiProgress::with_draw_target(target);
        let bar = lines.add(ProgressBar::no_length());
        Some(Self {
            total: Line::new(bar, name, look),
            lines,
            files: Vec::new(),
            look,
        })
    }

    /// Shows how far the copy is.
    pub(super) fn update(&mut self, progress: &Progress, connection: &Connection) {
        let active = progress.active();
        self.files.retain(|(file, line)| {
            let is_active = active.iter().any(|part| Arc::ptr_eq(part, file));
            if !is_active {
                line.bar.finish_and_clear();
                self.lines.remove(&line.bar);
            }
            is_active
        });
        for part in active {
            let has_line = self.files.iter().any(|(file, _)| Arc::ptr_eq(file, &part));
            if !has_line && self.files.len() < MAX_LINES {
                let bar = ProgressBar::no_length();
                let bar = self.lines.insert_before(&self.total.bar, bar);
                let name = printable_path(part.name());
                let line = Line::new(bar, &end_of(&name), self.look);
                self.files.push((part, line));
            }
        }
        for (file, line) in &mut self.files {
            line.update(file, self.look);
        }
        self.total.update(progress, self.look);
        self.total
            .bar
            .set_message(message(progress, connection, self.look));
    }

    /// Leaves the line of the whole as it is, and the others away.
    pub(super) fn abandon(&self) {
        for (_, line) in &self.files {
            line.bar.finish_and_clear();
        }
        self.total.bar.abandon();
    }
}

/// Columns of the terminal at standard error, where it says so.
fn columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    Some(size.ws_col).filter(|&columns| columns > 0)
}

/// The end of a long path says more than its beginning.
fn end_of(name: &str) -> String {
    const KEPT: usize = 24;
    let length = name.chars().count();
    match length > KEPT {
        true => name.chars().skip(length - KEPT).collect(),
        false => name.to_owned(),
    }
}

/// How many files are whole, and the share of packets that had to be sent again.
fn message(progress: &Progress, connection: &Connection, look: usize) -> String {
    let (whole, all) = progress.files();
    let files = match all > 1 {
        true => format!("{whole}/{all}"),
        false => String::new(),
    };
    match repeated(connection) {
        Some(percent) if look == 0 => format!("{files} {percent:.1}% sent again"),
        _ => files,
    }
}

/// The share of packets that had to be sent again, in percent, once any was sent.
pub(super) fn repeated(connection: &Connection) -> Option<f64> {
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
            "left",
            |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let seconds = state.eta().as_secs();
                // A terminal that takes no more text is no reason to stop a copy.
                let _ = match seconds / 3600 {
                    0 => write!(out, "{}:{:02}", seconds / 60, seconds % 60),
                    hours @ 1..100 => write!(out, "{hours}h{:02}m", seconds / 60 % 60),
                    hours => write!(out, "{}d", hours / 24),
                };
            },
        )
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_can_be_drawn() {
        for Look { sized, unsized_ } in LOOKS {
            style(sized);
            style(unsized_);
        }
    }

    #[test]
    fn of_a_long_path_its_end_is_shown() {
        assert_eq!(end_of("short"), "short");
        assert_eq!(end_of(&format!("{}/file", "x".repeat(40))).len(), 24);
        assert!(end_of(&format!("{}/file", "ä".repeat(40))).ends_with("ä/file"));
    }
}
