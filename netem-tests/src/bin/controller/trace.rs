//! One cell with a trace of one flow, for working on a controller.
//! Figures over many cells stand in `grids` and `named`.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use rp_netem_tests::{
    flow::{Bottleneck, FlowConfig, scenario::Cell},
    link::{Spread, Step},
    loss::Loss,
    queue::Policer,
};
use rp_protocol::{config::Policy, units::Bandwidth};

/// One cell with a trace of one flow.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Rate of the bottleneck in Mbit/s.
    #[arg(long, default_value_t = 100.0)]
    mbps: f64,
    /// Round-trip time in ms.
    #[arg(long, default_value_t = 100)]
    rtt: u64,
    /// Buffer in bandwidth-delay products.
    #[arg(long, default_value_t = 1.0)]
    bdp: f64,
    /// Random loss behind the bottleneck, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Mean length of a loss burst in packets.
    #[arg(long, default_value_t = 1.0)]
    burst: f64,
    /// Seconds of virtual time.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seed of all random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Flows as kind@start or kind@start-stop (seconds); kinds are `fair`, `low`, `notrain`, `cubic`, `tcp`, `reno`
    /// and `bbr`, and kind~100 adds 100 ms to the round trip.
    #[arg(long, default_value = "fair@0", value_delimiter = ',')]
    flows: Vec<String>,
    /// Jitter in ms: the delay varies by up to so much, in order.
    #[arg(long, default_value_t = 0)]
    jitter: u64,
    /// Policer in front of the link: depth in packets and rate in Mbit/s, as 100@30.
    #[arg(long)]
    police: Option<String>,
    /// Changes at times in seconds: a rate in Mbit/s, as 10@20, or a one-way delay, as 130ms@30.
    #[arg(long, value_delimiter = ',')]
    steps: Vec<String>,
    /// Number of the flow to trace, from 0.
    #[arg(long, default_value_t = 0)]
    of: usize,
    /// Milliseconds between lines.
    #[arg(long, default_value_t = 100)]
    every: u64,
}

impl Trace {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<()> {
        let cell = Cell {
            mbps: self.mbps,
            rtt_ms: self.rtt,
            bdp: self.bdp,
            loss: self.loss,
        };
        let jitter = Spread::Uniform(Duration::from_millis(self.jitter));
        let mut link = cell.link().jitter(jitter, true);
        if self.burst > 1.0 {
            link = link.loss(Loss::bursts(self.loss, self.burst));
        }
        if let Some(policer) = self.police.as_deref().and_then(parse_policer) {
            link = link.policer(policer);
        }
        link = link.steps(
            self.steps
                .iter()
                .filter_map(|step| parse_step(step))
                .collect(),
        );
        let mut bottleneck = Bottleneck::new(link, self.seed);
        for flow in &self.flows {
            bottleneck.add(parse_flow(flow).trace(true));
        }
        bottleneck.run(Duration::from_secs_f64(self.seconds));
        trace(out, &bottleneck, self.of, Duration::from_millis(self.every))
    }
}

fn parse_policer(text: &str) -> Option<Policer> {
    let (depth, mbps) = text.split_once('@')?;
    Some(Policer {
        rate: Bandwidth::from_bits_per_second(1_000_000).scaled(mbps.parse().ok()?),
        burst_bytes: 1200 * depth.parse::<u64>().ok()?,
    })
}

fn parse_step(text: &str) -> Option<Step> {
    let (value, at) = text.split_once('@')?;
    let mut step = Step {
        at: Duration::from_secs_f64(at.parse().ok()?),
        ..Step::default()
    };
    match value.strip_suffix("ms") {
        Some(delay) => step.delay = Some(Duration::from_millis(delay.parse().ok()?)),
        None => {
            let rate = Bandwidth::from_bits_per_second(1_000_000).scaled(value.parse().ok()?);
            step.rate = Some(rate);
        }
    }
    Some(step)
}

fn trace(
    out: &mut impl Write,
    bottleneck: &Bottleneck,
    of: usize,
    every: Duration,
) -> io::Result<()> {
    let mut next = Duration::ZERO;
    for state in bottleneck.flow(of).states() {
        if state.at < next {
            continue;
        }
        next = state.at + every;
        let queue = bottleneck.queue(state.at.saturating_sub(Duration::from_millis(20))..state.at);
        write!(
            out,
            "{:8.3} {:8} rate {:8.3} Mbit/s deliv {:8.3} win {:7} srtt {:6.1} min {:6.1} dq {:6.2} q {:6.2} pb {:5.2} % lost {}",
            state.at.as_secs_f64(),
            state.report.state,
            state.rate.bits_per_second() as f64 / 1e6,
            state.report.delivery_rate.bits_per_second() as f64 / 1e6,
            state.window,
            state.rtt.as_secs_f64() * 1e3,
            state.report.min_rtt.unwrap_or_default().as_secs_f64() * 1e3,
            state.report.queue_delay.as_secs_f64() * 1e3,
            queue.mean.as_secs_f64() * 1e3,
            state.report.random_loss * 100.0,
            state.lost,
        )?;
        for (name, value) in &state.estimates {
            write!(out, " {name} {value:.2}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn parse_flow(text: &str) -> FlowConfig {
    let (kind, start) = text.split_once('@').unwrap_or((text, "0"));
    let (kind, longer) = kind.split_once('~').unwrap_or((kind, "0"));
    let flow = match kind {
        "low" => FlowConfig::new(Policy::Low),
        "cubic" => FlowConfig::new(Policy::Cubic),
        "tcp" => FlowConfig::tcp(),
        "reno" => FlowConfig::reno(),
        "bbr" => FlowConfig::bbr(),
        "notrain" => FlowConfig::new(Policy::Fair).trains(false),
        _ => FlowConfig::new(Policy::Fair),
    };
    let flow = flow.extra_rtt(Duration::from_millis(longer.parse().unwrap_or(0)));
    let (start, stop) = start.split_once('-').unwrap_or((start, ""));
    let flow = flow.start(Duration::from_secs_f64(start.parse().unwrap_or(0.0)));
    match stop.parse() {
        Ok(stop) => flow.stop(Duration::from_secs_f64(stop)),
        Err(_) => flow,
    }
}
