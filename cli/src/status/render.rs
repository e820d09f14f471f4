//! A status as text for a terminal. Where it comes from, and how often, is in `show`.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use serde::Serialize;

use super::{ConnectionStatus, Datagrams, NamedUsage, Status};
use crate::servers::ServerHealth;

/// Rows of each table on a terminal.
const ROWS: usize = 10;

/// What went through a program per second, between two looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rates {
    /// Bits per second from targets to clients.
    pub down_bps: f64,
    /// Bits per second from clients to targets.
    pub up_bps: f64,
}

impl Rates {
    /// What went through between `before` and `after`; `None` if no time passed, or if it is another
    /// process.
    pub fn between(before: &Status, after: &Status) -> Option<Self> {
        if before.process.pid != after.process.pid {
            return None;
        }
        let seconds = after.process.uptime_seconds - before.process.uptime_seconds;
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 * 8.0 / seconds;
        (seconds > 0.0).then(|| Self {
            down_bps: rate(before.total.down_bytes, after.total.down_bytes),
            up_bps: rate(before.total.up_bytes, after.total.up_bytes),
        })
    }
}

/// `status` for people.
pub fn render(status: &Status, rates: Option<&Rates>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, status, rates);
    // Names come from elsewhere and may not change the terminal.
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

fn write(out: &mut String, status: &Status, rates: Option<&Rates>) -> fmt::Result {
    let process = &status.process;
    let uptime = Duration::try_from_secs_f64(process.uptime_seconds).unwrap_or_default();
    writeln!(
        out,
        "{} {}, process {}, running for {}",
        process.program,
        process.version,
        process.pid,
        Time(uptime)
    )?;
    write!(out, "state     {}", status.state)?;
    if let Some(reason) = &status.reason {
        write!(out, ": {reason}")?;
    }
    writeln!(out)?;
    if !status.listen.is_empty() {
        writeln!(out, "listening {}", status.listen.join(", "))?;
    }
    let total = &status.total;
    if let Some(rates) = rates {
        let (down, up) = (Bits(rates.down_bps), Bits(rates.up_bps));
        writeln!(out, "rate      down {down}, up {up}")?;
    }
    let (down, up) = (Bytes(total.down_bytes), Bytes(total.up_bytes));
    writeln!(out, "bytes     down {down}, up {up}")?;
    let (connected, denied, failed) = (total.connected, total.denied, total.failed);
    writeln!(
        out,
        "streams   {} open; {connected} connected, {denied} denied, {failed} failed so far",
        total.streams
    )?;
    let refusals = &status.refusals;
    if process.program == "rpserver" {
        let (clients, too_many) = (refusals.clients, refusals.too_many);
        writeln!(out, "refused   {clients} not let in, {too_many} too many")?;
        datagrams(out, &status.datagrams)?;
        clients_table(out, status)?;
        usage_table(out, "KEYS", &status.keys)?;
        usage_table(out, "TARGETS", &status.targets)
    } else {
        writeln!(out, "refused   {} at the front end", refusals.front_end)?;
        if status.servers.len() > 1 {
            status
                .servers
                .iter()
                .try_for_each(|server| health(out, server))?;
        }
        status
            .connections
            .iter()
            .try_for_each(|link| server(out, link))?;
        status
            .forwards
            .iter()
            .try_for_each(|forward| writeln!(out, "forward   {forward}"))?;
        usage_table(out, "TARGETS", &status.targets)
    }
}

/// UDP, where there was any.
fn datagrams(out: &mut String, datagrams: &Datagrams) -> fmt::Result {
    let Datagrams {
        associations,
        down,
        up,
        denied,
        discarded,
    } = datagrams;
    if *datagrams == Datagrams::default() {
        return Ok(());
    }
    writeln!(
        out,
        "datagrams down {down}, up {up}; {denied} denied, {discarded} discarded, {associations} associations so far"
    )
}

/// How one of several servers fares.
fn health(out: &mut String, server: &ServerHealth) -> fmt::Result {
    let state = match (server.is_used, &server.error) {
        (true, _) => "in use",
        (false, Some(error)) => error,
        (false, None) => "not in use",
    };
    writeln!(out, "health    {}: {state}", server.server)
}

/// The link to a server.
fn server(out: &mut String, link: &ConnectionStatus) -> fmt::Result {
    writeln!(out, "server    {} {}", link.remote, link.key)?;
    writeln!(
        out,
        "path      RTT {:.1} ms (least {:.1} ms), queue {:.1} ms, loss {:.2} %, may send {}",
        link.rtt_ms,
        link.min_rtt_ms,
        link.queue_ms,
        link.loss * 100.0,
        Bits(link.pacing_bps as f64)
    )?;
    let (sent, received) = (Bytes(link.sent_bytes), Bytes(link.received_bytes));
    writeln!(
        out,
        "packets   sent {sent}, received {received} with all that goes with it"
    )
}

fn clients_table(out: &mut String, status: &Status) -> fmt::Result {
    let clients = &status.connections;
    if clients.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nCLIENTS {}\n{:<24} {:<16} {:>9} {:>9} {:>7} {:>12} {:>9} {:>9}",
        status.connection_count,
        "address",
        "key",
        "RTT",
        "queue",
        "loss",
        "may send",
        "sent",
        "received"
    )?;
    for client in clients.iter().take(ROWS) {
        let name = client.comment.as_deref().unwrap_or(&client.key);
        writeln!(
            out,
            "{:<24} {:<16} {:>6.1} ms {:>6.1} ms {:>5.2} % {:>12} {:>9} {:>9}",
            client.remote,
            shortened(name, 16),
            client.rtt_ms,
            client.queue_ms,
            client.loss * 100.0,
            Bits(client.pacing_bps as f64).to_string(),
            Bytes(client.sent_bytes).to_string(),
            Bytes(client.received_bytes).to_string(),
        )?;
    }
    more(out, clients.len(), status.connection_count)
}

fn usage_table(out: &mut String, title: &str, rows: &[NamedUsage]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{title:<50} {:>6} {:>9} {:>7} {:>7} {:>9} {:>9}",
        "open", "connected", "denied", "failed", "down", "up"
    )?;
    for row in rows.iter().take(ROWS) {
        let usage = &row.usage;
        writeln!(
            out,
            "{:<50} {:>6} {:>9} {:>7} {:>7} {:>9} {:>9}",
            shortened(&row.name, 50),
            usage.streams,
            usage.connected,
            usage.denied,
            usage.failed,
            Bytes(usage.down_bytes).to_string(),
            Bytes(usage.up_bytes).to_string(),
        )?;
    }
    more(out, rows.len(), rows.len() as u64)
}

fn more(out: &mut String, listed: usize, all: u64) -> fmt::Result {
    let shown = listed.min(ROWS) as u64;
    match all.saturating_sub(shown) {
        0 => Ok(()),
        left => writeln!(
            out,
            "and {left} more (--json lists up to {})",
            super::MAX_ROWS
        ),
    }
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    kept + "…"
}

/// Bytes, in the unit that leaves few digits.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0 as f64, "B")
    }
}

/// Bits per second, likewise.
struct Bits(f64);

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, "bit/s")
    }
}

fn scaled(f: &mut fmt::Formatter<'_>, number: f64, unit: &str) -> fmt::Result {
    let steps = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    // What would be rounded up to a thousand is one of the next unit.
    let step = steps.iter().find(|(step, _)| number >= step * 0.9995);
    match step {
        Some((step, prefix)) => write!(f, "{:.1} {prefix}{unit}", number / step),
        None => write!(f, "{number:.0} {unit}"),
    }
}

/// A time in its two largest units.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, minutes) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, hours, minutes) => write!(f, "{hours} h {minutes} min"),
            (days, hours, _) => write!(f, "{days} d {hours} h"),
        }
    }
}
