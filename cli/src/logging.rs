//! Logs on standard error, as text or JSON. What is logged, and how loud, is decided where it happens.

mod flood;

use std::{
    io::{self, IsTerminal as _},
    str::FromStr,
    sync::OnceLock,
};

use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::FilterExt as _, fmt, layer::SubscriberExt as _,
    reload::Handle, util::SubscriberInitExt as _,
};

use self::flood::FloodFilter;
pub use self::flood::report_floods;

/// Our own crates, whose words are meant for users; others speak only when it is serious.
const CRATES: [&str; 4] = ["rp_cli", "rp_proxy", "rp_protocol", "rp_transfer"];

/// From quiet to loud.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// What can be changed while we run.
static LEVEL: OnceLock<(Handle<EnvFilter, Registry>, u8)> = OnceLock::new();

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(usize);

impl Level {
    /// Mistakes.
    pub const ERROR: Self = Self(0);
    /// And what may become one.
    pub const WARN: Self = Self(1);
    /// What a person who runs the program wants to know.
    pub const INFO: Self = Self(2);

    fn louder(self, steps: u8) -> &'static str {
        let at = self.0 + usize::from(steps);
        LEVELS[at.min(LEVELS.len() - 1)]
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = LEVELS.iter().position(|level| *level == text);
        at.map(Self)
            .ok_or_else(|| format!("it is one of {}", LEVELS.join(", ")))
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("it is text or json".to_owned()),
        }
    }
}

/// Starts logging from `level` on, in `format`; `verbose` lowers it by so many steps, and `RUST_LOG`
/// overrides both.
pub fn start(level: Level, verbose: u8, format: Format) {
    let filter = EnvFilter::try_from_default_env();
    let is_fixed = filter.is_ok();
    let filter = filter.unwrap_or_else(|_| ours(level, verbose));
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let lines = lines.with_filter(filter.and(FloodFilter));
    // Started twice only by tests that run programs in-process.
    let started = tracing_subscriber::registry().with(lines).try_init();
    if started.is_ok() && !is_fixed {
        let _ = LEVEL.set((handle, verbose));
    }
}

/// Logs from `level` on, as [`start`] would have, unless `RUST_LOG` says something else.
pub fn set_level(level: Level) {
    if let Some((handle, verbose)) = LEVEL.get() {
        let _ = handle.reload(ours(level, *verbose));
    }
}

fn ours(level: Level, verbose: u8) -> EnvFilter {
    let level = level.louder(verbose);
    let ours = CRATES.map(|name| format!("{name}={level}")).join(",");
    EnvFilter::new(format!("warn,{ours}"))
}

#[cfg(test)]
mod tests;
