//! Reads a trace back: qlog as our programs write it, and as much of other programs' as is named alike.
//! What is drawn of it is in `plot`.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

/// Begins every record (RFC 7464).
const SEPARATOR: u8 = 0x1e;

/// A value over time: seconds since the connection began, and the value from then on.
pub type Series = Vec<(f64, f64)>;

/// What a trace says, by subject.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Who wrote it.
    pub title: String,
    /// `client` or `server`.
    pub side: String,
    /// Time of the last event.
    pub end: f64,
    /// Packets sent that count against the window, with their bytes.
    pub sent: Series,
    /// Packets received, with their bytes.
    pub received: Series,
    /// Packets declared lost, with their bytes, at the time they were sent; probes for a larger size are
    /// left out.
    pub lost: Series,
    /// When packets declared lost arrived after all.
    pub spurious: Vec<f64>,
    /// When nothing came back for so long that the path was asked.
    pub probe_timeouts: Vec<f64>,
    /// Bytes acknowledged, as a sum.
    pub acked: Series,
    /// Newest sample, milliseconds.
    pub latest_rtt: Series,
    /// Moving average, milliseconds.
    pub smoothed_rtt: Series,
    /// Smallest, milliseconds.
    pub min_rtt: Series,
    /// Bytes.
    pub window: Series,
    /// Bytes.
    pub in_flight: Series,
    /// Bits per second.
    pub pacing_rate: Series,
    /// Largest UDP payload.
    pub mtu: Series,
    /// The controller's states, each from its time on.
    pub states: Vec<(f64, String)>,
    /// The controller's estimates by name.
    pub estimates: BTreeMap<String, Series>,
    /// When which packet number was sent, by rising number.
    departures: Vec<(u64, f64)>,
    /// Events that the writer could not keep.
    pub dropped: u64,
    /// When and how it ended.
    pub closed: Option<(f64, String)>,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    title: String,
    trace: TraceHeader,
}

#[derive(Deserialize)]
struct TraceHeader {
    #[serde(default)]
    vantage_point: VantagePoint,
}

#[derive(Default, Deserialize)]
struct VantagePoint {
    #[serde(rename = "type", default)]
    side: String,
}

#[derive(Deserialize)]
struct Record {
    time: f64,
    name: String,
    data: Value,
}

impl Trace {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no such trace; the text names the record. A record that a killed
    /// program left unfinished at the end is no error.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes).with_context(|| path.display().to_string())
    }

    /// Reads JSON text sequences.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut records = bytes.split(|&byte| byte == SEPARATOR);
        if !records.next().is_some_and(<[u8]>::is_empty) {
            bail!("no qlog in JSON text sequences: the first byte is no record separator");
        }
        let header = records.next().context("no record at all")?;
        let header: Header = serde_json::from_slice(header).context("record 1, the header")?;
        let mut trace = Self {
            title: header.title,
            side: header.trace.vantage_point.side,
            ..Self::default()
        };
        for (number, bytes) in (2..).zip(records) {
            match serde_json::from_slice::<Record>(bytes) {
                Ok(record) => trace.take(&record),
                // The writer was killed in the middle of it.
                Err(_) if bytes.last() != Some(&b'\n') => break,
                Err(error) => bail!("record {number}: {error}"),
            }
        }
        Ok(trace)
    }

    fn take(&mut self, record: &Record) {
        let at = record.time / 1e3;
        self.end = self.end.max(at);
        let data = &record.data;
        let length = || data["raw"]["length"].as_f64().unwrap_or(0.0);
        let is_probe = || data["is_mtu_probe_packet"] == true;
        // Names of older drafts differ in what stands before the colon.
        let (_, name) = record.name.split_once(':').unwrap_or(("", &record.name));
        match name {
            "packet_sent" if data["in_flight"] != false => {
                self.sent.push((at, length()));
                self.departures
                    .extend(number(data).map(|number| (number, at)));
            }
            "packet_received" => self.received.push((at, length())),
            "packet_lost" if !is_probe() => {
                // One that is not among them held only reports, and nobody missed it.
                if let Some(at) = number(data).and_then(|number| self.departure(number)) {
                    self.lost.push((at, length()));
                }
            }
            "spurious_loss" => self.spurious.push(at),
            "probe_timeout" => self.probe_timeouts.push(at),
            "recovery_metrics_updated" | "metrics_updated" => self.take_metrics(at, data),
            "congestion_state_updated" => {
                let new = data["new"].as_str().unwrap_or_default();
                self.states.push((at, new.to_owned()));
            }
            "controller_updated" => {
                for (name, value) in data.as_object().into_iter().flatten() {
                    if let Some(value) = value.as_f64() {
                        let series = self.estimates.entry(name.clone()).or_default();
                        series.push((at, value));
                    }
                }
            }
            "mtu_updated" => push(&mut self.mtu, at, &data["new"]),
            "events_dropped" => self.dropped += data["count"].as_u64().unwrap_or(0),
            "connection_closed" => {
                let text = |field: &str| data[field].as_str().unwrap_or("unknown").to_owned();
                self.closed = Some((at, format!("{}, {}", text("initiator"), text("trigger"))));
            }
            _ => {}
        }
    }

    fn departure(&self, number: u64) -> Option<f64> {
        let index = self
            .departures
            .binary_search_by_key(&number, |departure| departure.0);
        Some(self.departures[index.ok()?].1)
    }

    fn take_metrics(&mut self, at: f64, data: &Value) {
        push(&mut self.latest_rtt, at, &data["latest_rtt"]);
        push(&mut self.smoothed_rtt, at, &data["smoothed_rtt"]);
        push(&mut self.min_rtt, at, &data["min_rtt"]);
        push(&mut self.window, at, &data["congestion_window"]);
        push(&mut self.in_flight, at, &data["bytes_in_flight"]);
        push(&mut self.pacing_rate, at, &data["pacing_rate"]);
        push(&mut self.acked, at, &data["bytes_acked"]);
    }

    /// Whether this end sent more than it received: then its controller is what is to be seen.
    pub fn is_sender(&self) -> bool {
        let bytes = |series: &Series| series.iter().map(|(_, bytes)| bytes).sum::<f64>();
        bytes(&self.sent) >= bytes(&self.received)
    }

    /// One line: what was sent, lost, and how it ended.
    pub fn summary(&self) -> String {
        let bytes: f64 = self.sent.iter().map(|(_, bytes)| bytes).sum();
        let share = self.lost.len() as f64 / (self.sent.len() as f64).max(1.0);
        let mut text = format!(
            "{:.1} s, {} packets of {:.1} MB sent, {} lost ({:.2} %), {} of them by mistake, {} probe timeouts",
            self.end,
            self.sent.len(),
            bytes / 1e6,
            self.lost.len(),
            share * 100.0,
            self.spurious.len(),
            self.probe_timeouts.len(),
        );
        if let Some((at, how)) = &self.closed {
            text += &format!("; closed after {at:.1} s ({how})");
        }
        if self.dropped > 0 {
            text += &format!("; {} events are missing", self.dropped);
        }
        text
    }
}

fn number(data: &Value) -> Option<u64> {
    data["header"]["packet_number"].as_u64()
}

fn push(series: &mut Series, at: f64, value: &Value) {
    if let Some(value) = value.as_f64() {
        series.push((at, value));
    }
}
