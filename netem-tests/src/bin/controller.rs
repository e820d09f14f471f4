//! Judges congestion controllers on virtual links: grids of named cells, or one cell with a trace.

use std::{
    io::{self, Write},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use clap::{Parser, Subcommand};
use rp_netem_tests::flow::{
    Arena, FlowConfig,
    named::{self, Impairment},
    scenario::{self, Cell},
};
use rp_netem_tests::link::Spread;
use rp_netem_tests::queue::Policer;
use rp_protocol::config::Policy;
use rp_protocol::units::Bandwidth;

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One cell with a trace of the first flow.
    Trace {
        #[arg(long, default_value_t = 100.0)]
        mbps: f64,
        #[arg(long, default_value_t = 100)]
        rtt: u64,
        #[arg(long, default_value_t = 1.0)]
        bdp: f64,
        #[arg(long, default_value_t = 0.0)]
        loss: f64,
        #[arg(long, default_value_t = 10.0)]
        seconds: f64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Flows as kind@start or kind@start-stop, kinds `fair`, `notrain`, `cubic`, `tcp`.
        #[arg(long, default_value = "fair@0", value_delimiter = ',')]
        flows: Vec<String>,
        /// Delay varies by up to so many milliseconds, order kept.
        #[arg(long, default_value_t = 0)]
        jitter: u64,
        /// Depth in packets and rate in Mbit/s of a policer in front, as 100@30.
        #[arg(long)]
        police: Option<String>,
        /// Which flow to trace.
        #[arg(long, default_value_t = 0)]
        of: usize,
        /// Milliseconds between lines.
        #[arg(long, default_value_t = 100)]
        every: u64,
    },
    /// One flow alone over rates, RTTs, buffers and losses.
    Solo(Solo),
    /// Beside one CUBIC flow.
    Cubic {
        #[arg(long, value_delimiter = ',', default_value = "10,100")]
        mbps: Vec<f64>,
        #[arg(long, value_delimiter = ',', default_value = "20,50,100,200")]
        rtt: Vec<u64>,
        #[arg(long, value_delimiter = ',', default_value = "0.25,0.5,1,2,4")]
        bdp: Vec<f64>,
        #[arg(long, default_value_t = 1)]
        seeds: u64,
    },
    /// The named scenarios.
    Named {
        #[arg(long, default_value_t = 3)]
        seeds: u64,
        /// Only those whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Several default flows.
    Own(Own),
}

fn main() -> io::Result<()> {
    let out = &mut io::stdout().lock();
    match args.command {
        Command::Trace {
            mbps,
            rtt,
            bdp,
            loss,
            seconds,
            seed,
            flows,
            jitter,
            police,
            of,
            every,
        } => {
            let cell = Cell {
                mbps,
                rtt_ms: rtt,
                bdp,
                loss,
            };
            let jitter = Spread::Uniform(Duration::from_millis(jitter));
            let mut link = cell.link().jitter(jitter, true);
            if let Some((depth, mbps)) = police.as_deref().and_then(|text| text.split_once('@')) {
                let rate: f64 = mbps.parse().unwrap_or(mbps.len() as f64);
                link = link.policer(Policer {
                    rate: Bandwidth::from_bits_per_second(1_000_000).scaled(rate),
                    burst_bytes: 1200 * depth.parse().unwrap_or(100),
                });
            }
            let mut arena = Arena::new(link, seed);
            for flow in &flows {
                arena.add(parse_flow(flow).trace(true));
            }
            arena.run(Duration::from_secs_f64(seconds));
            trace(out, &arena, of, Duration::from_millis(every))
        }
        arena.run(Duration::from_secs_f64(self.seconds));
        trace(out, &arena, self.of, Duration::from_millis(self.every))
    }
}

#[derive(Debug, clap::Args)]
struct Solo {
    #[arg(long, value_delimiter = ',', default_value = "10,100")]
    mbps: Vec<f64>,
    #[arg(long, value_delimiter = ',', default_value = "10,20,50,100,300")]
    rtt: Vec<u64>,
    #[arg(long, value_delimiter = ',', default_value = "0.25,1,4")]
    bdp: Vec<f64>,
    #[arg(long, value_delimiter = ',', default_value = "0,0.001,0.01,0.05,0.1")]
    loss: Vec<f64>,
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    #[arg(long)]
    notrain: bool,
    /// Print only cells below this goodput, or over the queue limits.
    #[arg(long, default_value_t = 9.0)]
    below: f64,
}

impl Solo {
    fn run(&self, out: &mut impl Write) -> io::Result<()> {
        let cells = cells(&self.mbps, &self.rtt, &self.bdp, &self.loss);
        let rows = parallel(cells.len(), |i| {
            let cell = &cells[i];
            (1..=self.seeds)
                .map(|seed| {
                    let flow = FlowConfig::new(Policy::Fair).trains(!self.notrain);
                    scenario::solo(cell, cell.link(), flow, seed, scenario::long_enough(cell))
                })
                .min_by(|a, b| a.goodput.total_cmp(&b.goodput))
        });
        let mut sums = Vec::new();
        for (cell, row) in cells.iter().zip(&rows) {
            let Some(s) = row else { continue };
            sums.push(s.goodput);
            if s.goodput < self.below || s.queue_mean > 0.1 || s.queue_p95 > 0.25 {
                writeln!(
                    out,
                    "{:>6} Mbit/s {:>3} ms {:>5} BDP {:>5.1} %: goodput {:5.1} % queue {:4.1} / {:4.1} % drops {:4.1} % start {:4.1} RTT over {:4.2} spurious {:4.2} %",
                    cell.mbps,
                    cell.rtt_ms,
                    cell.bdp,
                    f(&rows[2 * i]),
                    f(&rows[2 * i + 1])
                )?;
            }
            Ok(())
        }
        Command::Named { seeds, only } => {
            let rows = named_rows();
            let rows: Vec<_> = rows
                .iter()
                .filter(|(name, _)| name.contains(&only))
                .collect();
            let count = rows.len() * usize::try_from(seeds).unwrap_or(1);
            let figures = parallel(count, |i| {
                rows[i % rows.len()].1(1 + (i / rows.len()) as u64)
            });
            for (i, (name, _)) in rows.iter().enumerate() {
                let list: Vec<_> = figures
                    .iter()
                    .skip(i)
                    .step_by(rows.len())
                    .map(String::as_str)
                    .collect();
                writeln!(out, "{name:<28} {}", list.join(" | "))?;
            }
            Ok(())
        }
        Command::Own {
            mbps,
            rtt,
            loss,
            flows,
            bdp,
            seeds,
        } => {
            let cells = cells(&mbps, &rtt, &[bdp], &loss);
            let jobs: Vec<(Cell, u64)> = cells
                .iter()
                .flat_map(|&cell| flows.iter().map(move |&n| (cell, n)))
                .collect();
            let rows = parallel(jobs.len(), |i| own(&jobs[i], seeds));
            for ((cell, n), row) in jobs.iter().zip(&rows) {
                writeln!(
                    out,
                    "{:>6} Mbit/s {:>3} ms {:>4.1} % x{n}: {}",
                    cell.mbps,
                    cell.rtt_ms,
                    cell.loss * 100.0,
                    s.goodput * 100.0,
                    s.queue_mean * 100.0,
                    s.queue_p95 * 100.0,
                    s.drops * 100.0,
                    s.start_rtts,
                    s.overshoot,
                    s.spurious * 100.0
                )?;
            }
        }
        summary(out, &mut sums)
    }
}

#[derive(Debug, clap::Args)]
struct Cubic {
    #[arg(long, value_delimiter = ',', default_value = "10,100")]
    mbps: Vec<f64>,
    #[arg(long, value_delimiter = ',', default_value = "20,50,100,200")]
    rtt: Vec<u64>,
    #[arg(long, value_delimiter = ',', default_value = "0.25,0.5,1,2,4")]
    bdp: Vec<f64>,
    #[arg(long, default_value_t = 1)]
    seeds: u64,
}

impl Cubic {
    fn run(&self, out: &mut impl Write) -> io::Result<()> {
        let cells = cells(&self.mbps, &self.rtt, &self.bdp, &[0.0]);
        let rows = parallel(cells.len() * 2, |i| {
            (1..=self.seeds)
                .map(|seed| scenario::beside_cubic(&cells[i / 2], i % 2 == 1, seed) * 100.0)
                .collect::<Vec<f64>>()
        });
        for (i, cell) in cells.iter().enumerate() {
            let f = |v: &[f64]| {
                v.iter()
                    .map(|x| format!("{x:3.0}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            writeln!(
                out,
                "{:>6} Mbit/s {:>3} ms {:>5} BDP: early {} late {}",
                cell.mbps,
                cell.rtt_ms,
                cell.bdp,
                f(&rows[2 * i]),
                f(&rows[2 * i + 1])
            )?;
        }
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
struct Own {
    #[arg(long, value_delimiter = ',', default_value = "100")]
    mbps: Vec<f64>,
    #[arg(long, value_delimiter = ',', default_value = "20,50,100,200")]
    rtt: Vec<u64>,
    #[arg(long, value_delimiter = ',', default_value = "0,0.01")]
    loss: Vec<f64>,
    #[arg(long, value_delimiter = ',', default_value = "2,4,8")]
    flows: Vec<u64>,
    #[arg(long, default_value_t = 1.0)]
    bdp: f64,
    #[arg(long, default_value_t = 1)]
    seeds: u64,
}

impl Own {
    fn run(&self, out: &mut impl Write) -> io::Result<()> {
        let cells = cells(&self.mbps, &self.rtt, &[self.bdp], &self.loss);
        let jobs: Vec<(Cell, u64)> = cells
            .iter()
            .flat_map(|&cell| self.flows.iter().map(move |&n| (cell, n)))
            .collect();
        let rows = parallel(jobs.len(), |i| own(&jobs[i], self.seeds));
        for ((cell, n), row) in jobs.iter().zip(&rows) {
            writeln!(
                out,
                "{:>6} Mbit/s {:>3} ms {:>4.1} % x{n}: {}",
                cell.mbps,
                cell.rtt_ms,
                cell.loss * 100.0,
                row
            )?;
        }
        Ok(())
    }
}

fn own((cell, n): &(Cell, u64), seeds: u64) -> String {
    let mut worst = (9.0, String::new());
    for seed in 1..=seeds {
        let mut arena = Arena::new(cell.link(), seed);
        for i in 0..*n {
            arena.add(FlowConfig::new(Policy::Fair).start(Duration::from_secs(i)));
        }
        let from = Duration::from_secs(20 + n - 1);
        let to = from + Duration::from_secs(20);
        arena.run(to);
        let shares = scenario::shares(&arena, from..to);
        let jain = scenario::jain(&shares);
        let sum: f64 = (0..arena.flows())
            .map(|i| arena.flow(i).goodput(from..to).bytes_per_second() as f64)
            .sum();
        let queue = arena.queue(from..to);
        if jain < worst.0 {
            let list: Vec<String> = shares.iter().map(|s| format!("{:.0}", s * 100.0)).collect();
            worst = (
                jain,
                format!(
                    "jain {jain:.3} sum {:.3} queue {:.3} shares {}",
                    sum / cell.limit(),
                    queue.mean.as_secs_f64() / cell.rtt().as_secs_f64(),
                    list.join(" ")
                ),
            );
        }
    }
    worst.1
}

type Row = (String, Box<dyn Fn(u64) -> String + Sync>);

fn named_rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |name: String, run: Box<dyn Fn(u64) -> String + Sync>| rows.push((name, run));
    let ms = Duration::from_millis;
    for rtt in [20, 100, 200] {
        add(
            format!("step_10x {rtt}"),
            Box::new(move |seed| {
                let f = named::step_10x(rtt, seed);
                format!(
                    "low {:.3} back {:.3} after {:.1} s",
                    f.low, f.back, f.back_after
                )
            }),
        );
    }
    for mbps in [5.0, 30.0, 100.0] {
        for depth in [20, 100, 1000] {
            for loss in [0.0, 0.02] {
                add(
                    format!("police {mbps} {depth} {loss}"),
                    Box::new(move |seed| {
                        let f = named::police(mbps, depth, loss, Duration::from_secs(40), seed);
                        format!("{:.3} drops {:.3}", f.goodput, f.drops)
                    }),
                );
            }
        }
    }
    add(
        "ratchet".into(),
        Box::new(|seed| {
            let f = named::police(30.0, 100, 0.02, Duration::from_secs(300), seed);
            format!("{:.3} drops {:.3}", f.goodput, f.drops)
        }),
    );
    let kinds = [
        Impairment::Jitter(ms(5)),
        Impairment::Jitter(ms(10)),
        Impairment::Jitter(ms(20)),
        Impairment::Reorder(ms(5)),
        Impairment::Reorder(ms(10)),
        Impairment::Ack10,
        Impairment::Ack10Loss20,
        Impairment::Bursts(5),
        Impairment::Bursts(20),
        Impairment::AckJitter,
        Impairment::NoTrains,
    ];
    for kind in kinds {
        for rtt in [20, 50, 100] {
            add(
                format!("{kind:?} {rtt}"),
                Box::new(move |seed| {
                    let f = named::impaired(kind, rtt, seed);
                    format!(
                        "{:.3} q {:.2}/{:.2} st {:.1} sp {:.3}",
                        f.goodput, f.queue_mean, f.queue_p95, f.start_rtts, f.spurious
                    )
                }),
            );
        }
    }
    for rtt in [20, 100] {
        add(
            format!("idle_burst {rtt}"),
            Box::new(move |seed| format!("{:.3}", named::idle_burst(rtt, seed))),
        );
    }
    for rtt in [20, 100, 200] {
        add(
            format!("start_late {rtt}"),
            Box::new(move |seed| {
                let (max, mean) = named::start_late(rtt, seed);
                format!("max {max:.2} later {mean:.2}")
            }),
        );
        for own in [1, 3] {
            add(
                format!("cubic_leaves {own} {rtt}"),
                Box::new(move |seed| {
                    let (queue, jain) = named::cubic_leaves(own, rtt, seed);
                    format!("queue {queue:.2} jain {jain:.3}")
                }),
            );
        }
        for bdp in [0.25, 1.0, 4.0] {
            add(
                format!("cubic_4 {bdp} {rtt}"),
                Box::new(move |seed| {
                    let (ours, least) = named::cubic_4(bdp, rtt, seed);
                    format!("ours {ours:.2} least {least:.2}")
                }),
            );
        }
        add(
            format!("own_notrain {rtt}"),
            Box::new(move |seed| {
                let (jain, sum, queue) =
                    named::own(&named::plain(100.0, rtt, 1.0, 0.0), 4, false, seed);
                format!("jain {jain:.2} sum {sum:.3} queue {queue:.2}")
            }),
        );
    }
    add(
        "late_full".into(),
        Box::new(|seed| format!("{:.3}", named::late_full(seed))),
    );
    add(
        "base_rises".into(),
        Box::new(|seed| format!("{:.3}", named::base_rises(seed))),
    );
    add(
        "loss_rises".into(),
        Box::new(|seed| format!("{:.3}", named::loss_rises(seed))),
    );
    add(
        "rtt_unfair".into(),
        Box::new(|seed| format!("{:.3}", named::rtt_unfair(seed))),
    );
    add(
        "fixed_lie".into(),
        Box::new(|seed| format!("{:.3}", named::fixed_lie(seed))),
    );
    add(
        "marking_queue".into(),
        Box::new(|seed| {
            let (goodput, queue) = named::marking_queue(seed);
            format!("{goodput:.3} queue {queue:.3}")
        }),
    );
    rows
}

fn summary(out: &mut impl Write, goodputs: &mut [f64]) -> io::Result<()> {
    goodputs.sort_by(f64::total_cmp);
    let Some(worst) = goodputs.first() else {
        return Ok(());
    };
    let median = goodputs[goodputs.len() / 2];
    let low = goodputs.iter().filter(|&&g| g < 0.92).count();
    writeln!(
        out,
        "worst {worst:.3}, median {median:.3}, {low} of {} below 0.92",
        goodputs.len()
    )
}

fn trace(out: &mut impl Write, arena: &Arena, of: usize, every: Duration) -> io::Result<()> {
    let mut next = Duration::ZERO;
    for state in arena.flow(of).states() {
        if state.at < next {
            continue;
        }
        next = state.at + every;
        let queue = arena.queue(state.at.saturating_sub(Duration::from_millis(20))..state.at);
        writeln!(
            out,
            "{:8.3} {:8} rate {:8.3} Mbit/s deliv {:8.3} win {:7} srtt {:6.1} min {:6.1} dq {:6.2} q {:6.2} pb {:5.2} % lost {} {}",
            state.at.as_secs_f64(),
            state.report.state,
            state.rate.bits_per_second() as f64 / 1e6,
            state.report.delivery_rate.bits_per_second() as f64 / 1e6,
            state.window,
            state.rtt.as_secs_f64() * 1e3,
            state.report.min_rtt.unwrap_or_default().as_secs_f64() * 1e3,
            state.report.queue_delay.as_secs_f64() * 1e3,
            queue.mean.as_secs_f64() * 1e3,
            state.report.baseline_loss * 100.0,
            state.lost,
            state.report.detail,
        )?;
    }
    Ok(())
}

fn parse_flow(text: &str) -> FlowConfig {
    let (kind, start) = text.split_once('@').unwrap_or((text, "0"));
    let flow = match kind {
        "cubic" => FlowConfig::new(Policy::Cubic),
        "tcp" => FlowConfig::tcp(),
        "notrain" => FlowConfig::new(Policy::Fair).trains(false),
        _ => FlowConfig::new(Policy::Fair),
    };
    let (start, stop) = start.split_once('-').unwrap_or((start, ""));
    let flow = flow.start(Duration::from_secs_f64(start.parse().unwrap_or(0.0)));
    match stop.parse() {
        Ok(stop) => flow.stop(Duration::from_secs_f64(stop)),
        Err(_) => flow,
    }
}

fn cells(mbps: &[f64], rtt: &[u64], bdp: &[f64], loss: &[f64]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &mbps in mbps {
        for &rtt_ms in rtt {
            for &bdp in bdp {
                for &loss in loss {
                    cells.push(Cell {
                        mbps,
                        rtt_ms,
                        bdp,
                        loss,
                    });
                }
            }
        }
    }
    cells
}

/// Runs jobs on all cores, results in order.
fn parallel<R: Send>(jobs: usize, job: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= jobs {
                        break;
                    }
                    let result = job(i);
                    if let Ok(mut results) = results.lock() {
                        results.push((i, result));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|&(i, _)| i);
    results.into_iter().map(|(_, result)| result).collect()
}
