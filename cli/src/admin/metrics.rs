//! A status as OpenMetrics text. Names and units stay as they are: dashboards are built on them.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::status::{ConnectionStatus, Datagrams, NamedUsage, Status, Usage};

/// What `/metrics` answers with.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Rows of a table that become metrics: each is a time series, and those that come and go cost whoever
/// collects them.
const ROWS: usize = 20;

/// `status` as text.
pub(super) fn encode(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("rapidpath");
    registry.register_collector(Box::new(Metrics(status)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Metrics(Status);

type Labels = Vec<(&'static str, String)>;

/// A label's value as it may stand between quotes; the encoder takes it as it is.
fn label(name: &'static str, value: &str) -> (&'static str, String) {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    (name, value.replace('\n', "\\n"))
}

/// One metric: its name, what it is, and its value of something that has many.
type Column<T, V> = (&'static str, &'static str, fn(&T) -> V);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.0;
        let process = &status.process;
        let labels = vec![
            label("program", &process.program),
            label("version", &process.version),
        ];
        gauges(
            &mut encoder,
            "build",
            "Which program this is",
            [(labels, 1.0)],
        )?;
        let well = f64::from(u8::from(status.is_well()));
        let single = |value: f64| [(Labels::new(), value)];
        gauges(&mut encoder, "up", "Whether it can serve", single(well))?;
        let uptime = process.uptime_seconds;
        gauges(
            &mut encoder,
            "uptime_seconds",
            "Time since its start",
            single(uptime),
        )?;
        let connections = status.connection_count as f64;
        gauges(
            &mut encoder,
            "connections",
            "RPP connections at present",
            single(connections),
        )?;
        let refusals = status.refusals;
        let refused = [
            ("client", refusals.clients),
            ("too_many", refusals.too_many),
            ("front_end", refusals.front_end),
        ];
        let refused = refused.map(|(why, count)| (vec![label("reason", why)], count));
        counters(&mut encoder, "refused", "Connections refused", refused)?;
        if process.program == "rpserver" {
            datagrams(&mut encoder, &status.datagrams)?;
        }
        usage(&mut encoder, "", &[(Labels::new(), &status.total)])?;
        named(&mut encoder, "key_", "key", &status.keys)?;
        named(&mut encoder, "target_", "target", &status.targets)?;
        paths(&mut encoder, status)
    }
}

/// UDP of proxied clients.
fn datagrams(encoder: &mut DescriptorEncoder<'_>, datagrams: &Datagrams) -> fmt::Result {
    let single = |value: u64| [(Labels::new(), value)];
    counters(
        encoder,
        "udp_associations",
        "UDP associations opened",
        single(datagrams.associations),
    )?;
    let outcomes = [
        ("down", datagrams.down),
        ("up", datagrams.up),
        ("denied", datagrams.denied),
        ("discarded", datagrams.discarded),
    ];
    let outcomes = outcomes.map(|(outcome, count)| (vec![label("outcome", outcome)], count));
    counters(
        encoder,
        "udp_datagrams",
        "Datagrams of associations, by what became of them",
        outcomes,
    )
}

/// What every name used.
fn named(
    encoder: &mut DescriptorEncoder<'_>,
    prefix: &str,
    name: &'static str,
    rows: &[NamedUsage],
) -> fmt::Result {
    let rows = rows.iter().take(ROWS);
    let rows: Vec<_> = rows
        .map(|row| (vec![label(name, &row.name)], &row.usage))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    usage(encoder, prefix, &rows)
}

fn usage(
    encoder: &mut DescriptorEncoder<'_>,
    prefix: &str,
    rows: &[(Labels, &Usage)],
) -> fmt::Result {
    let streams = rows
        .iter()
        .map(|(labels, usage)| (labels.clone(), usage.streams as f64));
    let name = format!("{prefix}streams");
    gauges(encoder, &name, "Proxied connections at present", streams)?;
    let columns: [Column<Usage, u64>; 5] = [
        ("connected", "Targets connected", |usage| usage.connected),
        ("denied", "Requests refused by rules", |usage| usage.denied),
        ("failed", "Requests that failed otherwise", |usage| {
            usage.failed
        }),
        ("down_bytes", "Bytes from targets to clients", |usage| {
            usage.down_bytes
        }),
        ("up_bytes", "Bytes from clients to targets", |usage| {
            usage.up_bytes
        }),
    ];
    for (name, help, value) in columns {
        let values = rows
            .iter()
            .map(|(labels, usage)| (labels.clone(), value(usage)));
        counters(encoder, &format!("{prefix}{name}"), help, values)?;
    }
    Ok(())
}

/// The paths of the busiest connections.
fn paths(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let connections = &status.connections[..status.connections.len().min(ROWS)];
    if connections.is_empty() {
        return Ok(());
    }
    let labels = |of: &ConnectionStatus| -> Labels {
        vec![label("remote", &of.remote), label("key", &of.key)]
    };
    let measured: [Column<ConnectionStatus, f64>; 6] = [
        ("rtt_seconds", "Smoothed round-trip time", |of| {
            of.rtt_ms / 1e3
        }),
        ("min_rtt_seconds", "Least round-trip time of late", |of| {
            of.min_rtt_ms / 1e3
        }),
        (
            "queue_seconds",
            "Time packets wait in the queue we cause",
            |of| of.queue_ms / 1e3,
        ),
        ("pacing_bits_per_second", "What may be sent", |of| {
            of.pacing_bps as f64
        }),
        ("delivery_bits_per_second", "What arrives", |of| {
            of.delivery_bps as f64
        }),
        ("in_flight_bytes", "Bytes on their way", |of| {
            of.in_flight_bytes as f64
        }),
    ];
    for (name, help, value) in measured {
        let values = connections.iter().map(|of| (labels(of), value(of)));
        gauges(encoder, &format!("path_{name}"), help, values)?;
    }
    let counted: [Column<ConnectionStatus, u64>; 5] = [
        ("sent_bytes", "UDP payload sent", |of| of.sent_bytes),
        ("received_bytes", "UDP payload received", |of| {
            of.received_bytes
        }),
        ("sent_packets", "Packets sent", |of| of.sent_packets),
        ("lost_packets", "Packets lost", |of| of.lost_packets),
        ("dropped_packets", "Packets not believed", |of| {
            of.dropped_packets
        }),
    ];
    for (name, help, value) in counted {
        let values = connections.iter().map(|of| (labels(of), value(of)));
        counters(encoder, &format!("path_{name}"), help, values)?;
    }
    Ok(())
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, f64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        if labels.is_empty() {
            // It has one value and no more.
            return ConstGauge::new(value).encode(metric);
        }
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        if labels.is_empty() {
            // It has one value and no more.
            return ConstCounter::new(value).encode(metric);
        }
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}
