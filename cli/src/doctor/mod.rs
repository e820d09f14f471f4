//! `rpclient doctor`: looks for what makes transfers slow or impossible, and says what to do about it.
//! What is judged is measured in `machine` and `server`; the judgements are here and touch nothing.

mod machine;
mod server;

use std::{fmt, time::Duration};

pub use self::machine::Machine;
pub use self::server::{Reached, reach};
use crate::{
    exit_code::{ExitCode, Failure},
    run,
    settings::ClientSettings,
};

#[cfg(test)]
mod tests;

/// Asked for by our sockets in each direction.
const WANTED_BUFFER: u64 = 8 << 20;

/// Below this a fast transfer loses packets in this machine: 2 MB are 16 ms at 1 Gbit/s.
const LEAST_BUFFER: u64 = 2 << 20;

/// What Ethernet carries; less means a tunnel or a phone on the way.
const USUAL_MTU: u32 = 1500;

/// The least that our first packets need: 1200 bytes and the headers of IPv6 and UDP.
const LEAST_MTU: u32 = 1200 + 40 + 8;

/// Descriptors below which a busy proxy runs out: two for each connection.
const LEAST_DESCRIPTORS: u64 = 4096;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, but slower or for fewer than it could.
    Note,
    /// It does not work.
    Bad,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Bad => "BAD",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at.
    pub what: &'static str,
    /// What was found, and what comes of it.
    pub text: String,
    /// What to do: lines to paste, or advice.
    pub remedy: Vec<String>,
}

impl Finding {
    fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Ok, what, text, &[])
    }

    fn new(
        severity: Severity,
        what: &'static str,
        text: impl Into<String>,
        remedy: &[&str],
    ) -> Self {
        Self {
            severity,
            what,
            text: text.into(),
            remedy: remedy.iter().map(|&line| line.to_owned()).collect(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<5} {:<15} {}", self.severity, self.what, self.text)?;
        let mut remedy = self.remedy.iter();
        remedy.try_for_each(|line| write!(f, "\n      {:<15} -> {line}", ""))
    }
}

/// Looks at this machine, and at the way to the server if one is named, and says what is found.
///
/// # Errors
/// Something was found that does not work, or is slower than it could be.
pub async fn run(settings: Result<ClientSettings, Failure>) -> Result<(), Failure> {
    let machine = Machine::look().await;
    let mut findings = machine.findings();
    let settings = match settings {
        Ok(settings) => settings,
        Err(failure) => {
            let text = format!("not looked for: {failure}");
            findings.push(Finding::new(Severity::Note, "server", text, &[]));
            return say(&findings);
        }
    };
    for (server, trust) in &settings.servers {
        findings.push(interface_mtu(server::route(server).await));
        let reached = reach(server, trust, &settings.transport).await;
        findings.extend(server_findings(&server.to_string(), reached));
    }
    say(&findings)
}

fn say(findings: &[Finding]) -> Result<(), Failure> {
    for finding in findings {
        run::say(
            &finding
                .to_string()
                .replace(|c: char| c.is_control() && c != '\n', "?"),
        );
    }
    let (code, text) = verdict(findings);
    run::say(&text);
    match code {
        ExitCode::Ok => Ok(()),
        code => Err(Failure::new(code, "")),
    }
}

/// One line for everything, and how the program ends: 3 where the server is not reached, 1 for anything
/// else that is bad.
fn verdict(findings: &[Finding]) -> (ExitCode, String) {
    let count = |severity| findings.iter().filter(|of| of.severity == severity).count();
    let names = |severity| {
        let of = findings.iter().filter(|of| of.severity == severity);
        of.map(|of| of.what).collect::<Vec<_>>().join(", ")
    };
    match (count(Severity::Bad), count(Severity::Note)) {
        (0, 0) => (ExitCode::Ok, "verdict: all is well".to_owned()),
        (0, _) => {
            let names = names(Severity::Note);
            (
                ExitCode::Ok,
                format!("verdict: it works; could be better: {names}"),
            )
        }
        _ => {
            let is_cut_off = findings
                .iter()
                .any(|of| of.severity == Severity::Bad && of.what == "server");
            let code = if is_cut_off {
                ExitCode::Connect
            } else {
                ExitCode::Failed
            };
            (
                code,
                format!("verdict: something does not work: {}", names(Severity::Bad)),
            )
        }
    }
}

/// What the socket buffers that were granted (in bytes) mean.
fn buffers(received: u64, sent: u64, is_limited: bool) -> Finding {
    let text = format!("receive {} kB, send {} kB", received / 1024, sent / 1024);
    if received.min(sent) >= LEAST_BUFFER && !is_limited {
        return Finding::ok("socket buffers", text);
    }
    let (text, severity) = match received.min(sent) >= LEAST_BUFFER {
        true => (
            format!(
                "{text} for us; other users of this machine get less than {} kB",
                LEAST_BUFFER / 1024
            ),
            Severity::Note,
        ),
        false => (
            format!("{text}: fast transfers lose packets in this machine"),
            Severity::Note,
        ),
    };
    let set =
        format!("sysctl -w net.core.rmem_max={WANTED_BUFFER} net.core.wmem_max={WANTED_BUFFER}");
    let keep = format!(
        "printf 'net.core.rmem_max={WANTED_BUFFER}\\nnet.core.wmem_max={WANTED_BUFFER}\\n' \
         > /etc/sysctl.d/90-rapidpath.conf"
    );
    Finding::new(severity, "socket buffers", text, &[&set, &keep])
}

/// What the largest number of datagrams in one system call means.
fn segmentation(segments: usize) -> Finding {
    if segments > 1 {
        return Finding::ok("GSO", format!("{segments} datagrams in one call"));
    }
    Finding::new(
        Severity::Note,
        "GSO",
        "the kernel sends one datagram a call: more CPU time at high rates",
        &["use Linux 4.18 or later, outside of sandboxes that emulate the kernel"],
    )
}

/// What the limit of open files means.
fn descriptors(limit: u64) -> Finding {
    if limit >= LEAST_DESCRIPTORS {
        return Finding::ok("descriptors", format!("{limit} files may be open"));
    }
    let text = format!(
        "{limit} files may be open: some {} proxied connections",
        limit / 2
    );
    let remedy = ["ulimit -Hn 65536 (as root), or LimitNOFILE=65536 in the unit"];
    Finding::new(Severity::Note, "descriptors", text, &remedy)
}

/// What the clock says of itself. `newest` is the time of the youngest file that we know to be older than
/// this moment, both since the Unix epoch.
fn clock(now: Duration, newest: Duration, source: Option<&str>) -> Finding {
    /// A file may have been made on a machine whose clock is a little ahead.
    const SLACK: Duration = Duration::from_secs(24 * 3600);
    if now + SLACK < newest {
        return Finding::new(
            Severity::Bad,
            "clock",
            "it is behind the time at which rpclient was installed: keys with expiry-time are misjudged",
            &["timedatectl set-ntp true"],
        );
    }
    match source {
        Some(slow @ ("hpet" | "acpi_pm" | "jiffies" | "refined-jiffies")) => Finding::new(
            Severity::Note,
            "clock",
            format!("its source is {slow}, which is slow to read: more CPU time at high rates"),
            &["cat /sys/devices/system/clocksource/clocksource0/available_clocksource"],
        ),
        Some(source) => Finding::ok("clock", format!("it can be right; source {source}")),
        None => Finding::ok("clock", "it can be right"),
    }
}

/// What the MTU of the interface towards the server means.
fn interface_mtu(route: Option<(String, u32)>) -> Finding {
    let Some((interface, mtu)) = route else {
        return Finding::ok("MTU", "the interface towards the server is not known");
    };
    let text = format!("{mtu} on {interface}");
    if mtu < LEAST_MTU {
        let text = format!("{text}: our first packets need {LEAST_MTU} and do not fit");
        let raise = format!("ip link set dev {interface} mtu {USUAL_MTU}");
        return Finding::new(Severity::Bad, "MTU", text, &[&raise]);
    }
    if mtu < USUAL_MTU {
        let text = format!("{text}: smaller packets, somewhat more CPU time and overhead");
        let raise = format!("if it is no tunnel: ip link set dev {interface} mtu {USUAL_MTU}");
        return Finding::new(Severity::Note, "MTU", text, &[&raise]);
    }
    Finding::ok("MTU", text)
}

/// What came of connecting to `server`.
fn server_findings(server: &str, reached: Result<Reached, Failure>) -> Vec<Finding> {
    let reached = match reached {
        Ok(reached) => reached,
        Err(failure) => {
            let finding = Finding::new(Severity::Bad, "server", failure.text, &[]);
            return vec![finding];
        }
    };
    let rtt = reached.rtt.as_secs_f64() * 1e3;
    let mut findings = vec![Finding::ok(
        "server",
        format!("{server} answers over UDP, RTT {rtt:.1} ms"),
    )];
    let payload = reached.max_payload;
    let needed = payload + 28;
    findings.push(match reached.blocked_above {
        None => Finding::ok("path MTU", format!("packets of {needed} bytes arrive")),
        Some(mtu) => Finding::new(
            Severity::Note,
            "path MTU",
            format!("packets of {needed} bytes arrive, those of the interface's {mtu} do not: a tunnel on the way"),
            &["nothing to do: the size that fits is found for each path"],
        ),
    });
    findings
}
