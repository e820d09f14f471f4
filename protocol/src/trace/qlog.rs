//! Writes events as qlog: JSON text sequences (RFC 7464) after draft-ietf-quic-qlog-main-schema and
//! draft-ietf-quic-qlog-quic-events. Which events there are is in `event.rs`.
//!
//! Events that QUIC has keep its names and fields (`quic:`); what only RPP has stands under
//! `rpp:`, and as further fields where the schema invites them (spec/decisions/0008-event-trace.md).

use std::{
    io::{self, Write},
    time::{Duration, Instant, SystemTime},
};

use super::{Close, Event, LossTrigger, Metrics, Start};
use crate::units::{Bandwidth, Side};

/// Begins every record (RFC 7464 section 2.2).
pub const RECORD_SEPARATOR: u8 = 0x1e;
/// Schema of the events QUIC has, as of the draft that was followed.
pub const QUIC_SCHEMA: &str = "urn:ietf:params:qlog:events:quic-13";
/// Schema of our own events; the number changes when one of them does.
pub const RPP_SCHEMA: &str = "urn:x-rapidpath:qlog:events:rpp-1";

/// A trace being written.
#[derive(Debug)]
pub struct Qlog<W> {
    out: W,
    start: Instant,
    line: Vec<u8>,
    last: Option<Metrics>,
}

impl<W: Write> Qlog<W> {
    /// Begin the trace of the connection `start` in `out`; `program` says who writes it, `began` what
    /// a clock on the wall showed, if it is to be known.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn begin(
        out: W,
        start: &Start,
        program: &str,
        began: Option<SystemTime>,
    ) -> io::Result<Self> {
        let mut qlog = Self {
            out,
            start: start.now,
            line: Vec::with_capacity(512),
            last: None,
        };
        qlog.write_header(start, program, began)?;
        Ok(qlog)
    }

    fn write_header(
        &mut self,
        start: &Start,
        program: &str,
        began: Option<SystemTime>,
    ) -> io::Result<()> {
        let side = side(start.side);
        let id = start.connection;
        // The name of a program is ours, but it goes into a JSON string all the same.
        let program: String = program
            .chars()
            .filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c))
            .collect();
        let wall_clock = began.map_or(String::new(), |began| {
            format!(r#","wall_clock_time":"{}""#, rfc3339(began))
        });
        self.line.push(RECORD_SEPARATOR);
        write!(
            self.line,
            r#"{{"file_schema":"urn:ietf:params:qlog:file:sequential","serialization_format":"application/qlog+json-seq","title":"{program} {id}","trace":{{"common_fields":{{"group_id":"{id}","protocol_types":["RPP"],"time_format":"relative_to_epoch","reference_time":{{"clock_type":"monotonic","epoch":"unknown"{wall_clock}}}}},"vantage_point":{{"name":"{program}","type":"{side}"}},"event_schemas":["{QUIC_SCHEMA}","{RPP_SCHEMA}"]}}}}"#,
        )?;
        self.end_line()?;
        let kind = if start.remote.is_ipv4() { "v4" } else { "v6" };
        let (ip, port) = (start.remote.ip(), start.remote.port());
        self.event(start.now, "quic:connection_started", |line| {
            write!(
                line,
                r#""local":{{}},"remote":{{"ip_{kind}":"{ip}","port_{kind}":{port}}}"#
            )
        })
    }

    /// Write one event.
    ///
    /// # Errors
    /// Those of the place it goes to.
    pub fn write(&mut self, now: Instant, event: &Event) -> io::Result<()> {
        match event {
            Event::Established => self.event(now, "quic:connection_state_updated", |line| {
                line.write_all(br#""new":"handshake_complete""#)
            }),
            Event::Closed(close) => {
                self.event(now, "quic:connection_closed", |line| put_close(line, close))
            }
            Event::PacketSent {
                number,
                bytes,
                in_flight,
                is_mtu_probe,
            } => self.event(now, "quic:packet_sent", |line| {
                put_packet(line, *number, *bytes, *is_mtu_probe)?;
                if !in_flight {
                    line.write_all(br#","in_flight":false"#)?;
                }
                Ok(())
            }),
            Event::PacketReceived { number, bytes } => {
                self.event(now, "quic:packet_received", |line| {
                    put_packet(line, *number, *bytes, false)
                })
            }
            Event::PacketLost {
                number,
                bytes,
                is_mtu_probe,
                trigger,
            } => self.event(now, "quic:packet_lost", |line| {
                put_packet(line, *number, *bytes, *is_mtu_probe)?;
                let trigger = match trigger {
                    LossTrigger::Time => "time_threshold",
                    LossTrigger::Nak => "nak",
                };
                write!(line, r#","trigger":"{trigger}""#)
            }),
            Event::SpuriousLoss { number, bytes } => self.event(now, "rpp:spurious_loss", |line| {
                put_packet(line, *number, *bytes, false)
            }),
            Event::ProbeTimeout { count } => self.event(now, "rpp:probe_timeout", |line| {
                write!(line, r#""count":{count}"#)
            }),
            Event::MtuUpdated { old, new } => self.event(now, "quic:mtu_updated", |line| {
                if let Some(old) = old {
                    write!(line, r#""old":{old},"#)?;
                }
                write!(line, r#""new":{new}"#)
            }),
            Event::Metrics(metrics) => self.write_metrics(now, metrics),
            Event::State { old, new } => self.event(now, "quic:congestion_state_updated", |line| {
                if let Some(old) = old {
                    write!(line, r#""old":"{old}","#)?;
                }
                write!(line, r#""new":"{new}""#)
            }),
            Event::Controller {
                delivery_rate,
                queue_delay,
                random_loss,
                estimates,
            } => self.event(now, "rpp:controller_updated", |line| {
                let (rate, queue) = (bits(*delivery_rate), millis(*queue_delay));
                write!(
                    line,
                    r#""delivery_rate":{rate},"queue_delay":{queue:.3},"random_loss":{:.5}"#,
                    finite(*random_loss)
                )?;
                for (name, value) in estimates {
                    write!(line, r#","{name}":{:.3}"#, finite(*value))?;
                }
                Ok(())
            }),
        }
    }

    /// Say that `count` events are missing here.
    ///
    /// # Errors
    /// Those of the place it goes to.
    pub fn write_gap(&mut self, now: Instant, count: u64) -> io::Result<()> {
        self.event(now, "rpp:events_dropped", |line| {
            write!(line, r#""count":{count}"#)
        })
    }

    /// Hand over everything written so far.
    ///
    /// # Errors
    /// Those of the place it goes to.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Only what changed is written: an ACK moves two or three of the ten.
    fn write_metrics(&mut self, now: Instant, new: &Metrics) -> io::Result<()> {
        let last = self.last.replace(*new);
        if last == Some(*new) {
            return Ok(());
        }
        let time = |of: fn(&Metrics) -> Duration| {
            (last.as_ref().map(of) != Some(of(new))).then(|| millis(of(new)))
        };
        let count =
            |of: fn(&Metrics) -> u64| (last.as_ref().map(of) != Some(of(new))).then(|| of(new));
        let times = [
            ("min_rtt", time(|m| m.min_rtt)),
            ("smoothed_rtt", time(|m| m.smoothed_rtt)),
            ("latest_rtt", time(|m| m.latest_rtt)),
            ("rtt_variance", time(|m| m.rtt_variation)),
        ];
        let counts = [
            ("pto_count", count(|m| m.probe_count.into())),
            ("congestion_window", count(|m| m.window)),
            ("bytes_in_flight", count(|m| m.in_flight_bytes)),
            ("packets_in_flight", count(|m| m.in_flight_packets)),
            ("pacing_rate", count(|m| bits(m.pacing_rate))),
            ("bytes_acked", count(|m| m.acked_bytes)),
        ];
        self.event(now, "quic:recovery_metrics_updated", |line| {
            let mut comma = "";
            for (name, value) in times {
                if let Some(value) = value {
                    write!(line, r#"{comma}"{name}":{value:.3}"#)?;
                    comma = ",";
                }
            }
            for (name, value) in counts {
                if let Some(value) = value {
                    write!(line, r#"{comma}"{name}":{value}"#)?;
                    comma = ",";
                }
            }
            Ok(())
        })
    }

    fn event(
        &mut self,
        now: Instant,
        name: &str,
        data: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let time = millis(now.saturating_duration_since(self.start));
        self.line.push(RECORD_SEPARATOR);
        write!(self.line, r#"{{"time":{time:.3},"name":"{name}","data":{{"#)?;
        data(&mut self.line)?;
        self.line.extend_from_slice(b"}}");
        self.end_line()
    }

    /// A record goes out whole or, if the place fails before it, not at all.
    fn end_line(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        let result = self.out.write_all(&self.line);
        self.line.clear();
        result
    }
}

fn put_packet(line: &mut Vec<u8>, number: u64, bytes: u16, is_mtu_probe: bool) -> io::Result<()> {
    write!(
        line,
        r#""header":{{"packet_type":"1RTT","packet_number":{number}}},"raw":{{"length":{bytes}}}"#
    )?;
    if is_mtu_probe {
        line.write_all(br#","is_mtu_probe_packet":true"#)?;
    }
    Ok(())
}

fn put_close(line: &mut Vec<u8>, close: &Close) -> io::Result<()> {
    let initiator = if close.is_remote { "remote" } else { "local" };
    write!(
        line,
        r#""initiator":"{initiator}","trigger":"{}""#,
        close.trigger
    )?;
    if let Some(code) = close.transport_code {
        write!(line, r#","connection_error":"unknown","error_code":{code}"#)?;
    }
    if let Some(code) = close.application_code {
        write!(
            line,
            r#","application_error":"unknown","error_code":{code}"#
        )?;
    }
    Ok(())
}

/// The end a trace is seen from, in qlog's words.
pub fn side(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

/// `1970-01-01T00:00:00.000Z`; times before that are taken for it.
fn rfc3339(time: SystemTime) -> String {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days since 1 March of the year 0: then the leap day is a year's last, and months have lengths by rule.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = 400 * era + year + carry;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// JSON readers take whole numbers up to 2^53 - 1 (RFC 7493 section 2.2); "no limit" is above that.
fn bits(rate: Bandwidth) -> u64 {
    rate.bits_per_second().min((1 << 53) - 1)
}

/// JSON has no infinities.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}
