//! Grids of plain cells: one flow alone, beside CUBIC, among its own kind.
//! Scenarios with a name of their own stand in `named`.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use rp_netem_tests::flow::{
    Bottleneck, FlowConfig,
    scenario::{self, Cell},
};
use rp_protocol::config::Policy;

use crate::parallel::parallel;

/// One flow alone over rates, RTTs, buffers and losses.
#[derive(Debug, Args)]
pub(crate) struct Solo {
    /// Rates of the bottleneck in Mbit/s.
    #[arg(long, value_delimiter = ',', default_value = "10,100")]
    mbps: Vec<f64>,
    /// Round-trip times in ms.
    #[arg(long, value_delimiter = ',', default_value = "10,20,50,100,300")]
    rtt: Vec<u64>,
    /// Buffers in bandwidth-delay products.
    #[arg(long, value_delimiter = ',', default_value = "0.25,1,4")]
    bdp: Vec<f64>,
    /// Random losses behind the bottleneck, 0 to 1.
    #[arg(long, value_delimiter = ',', default_value = "0,0.001,0.01,0.05,0.1")]
    loss: Vec<f64>,
    /// Runs of each cell with different seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Receivers do not time packet trains.
    #[arg(long)]
    notrain: bool,
    /// Print only cells below this goodput (share of the limit) or above the queue limits.
    #[arg(long, default_value_t = 9.0)]
    below: f64,
}

impl Solo {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<()> {
        let cells = cells(&self.mbps, &self.rtt, &self.bdp, &self.loss);
        let rows = parallel(cells.len(), |i| {
            let cell = &cells[i];
            let run = |seed| {
                let flow = FlowConfig::new(Policy::Fair).trains(!self.notrain);
                scenario::solo(cell, cell.link(), flow, seed, scenario::long_enough(cell))
            };
            (1..=self.seeds)
                .map(run)
                .min_by(|a, b| a.goodput.total_cmp(&b.goodput))
        });
        let mut goodputs = Vec::new();
        for (cell, solo) in cells.iter().zip(&rows) {
            let Some(solo) = solo else { continue };
            goodputs.push(solo.goodput);
            if solo.goodput < self.below || solo.queue_mean > 0.1 || solo.queue_p95 > 0.25 {
                row(out, cell, solo)?;
            }
        }
        summary(out, &mut goodputs)
    }
}

fn row(out: &mut impl Write, cell: &Cell, solo: &scenario::Solo) -> io::Result<()> {
    writeln!(
        out,
        "{:>6} Mbit/s {:>3} ms {:>5} BDP {:>5.1} %: goodput {:5.1} % queue {:4.1} / {:4.1} % \
         drops {:4.1} % start {:4.1} RTT over {:4.2} spurious {:4.2} %",
        cell.mbps,
        cell.rtt_ms,
        cell.bdp,
        cell.loss * 100.0,
        solo.goodput * 100.0,
        solo.queue_mean * 100.0,
        solo.queue_p95 * 100.0,
        solo.drops * 100.0,
        solo.start_rtts,
        solo.overshoot,
        solo.spurious * 100.0
    )
}

/// Beside one CUBIC flow.
#[derive(Debug, Args)]
pub(crate) struct Cubic {
    /// Rates of the bottleneck in Mbit/s.
    #[arg(long, value_delimiter = ',', default_value = "10,100")]
    mbps: Vec<f64>,
    /// Round-trip times in ms.
    #[arg(long, value_delimiter = ',', default_value = "20,50,100,200")]
    rtt: Vec<u64>,
    /// Buffers in bandwidth-delay products.
    #[arg(long, value_delimiter = ',', default_value = "0.25,0.5,1,2,4")]
    bdp: Vec<f64>,
    /// Runs of each cell with different seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
}

impl Cubic {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<()> {
        let cells = cells(&self.mbps, &self.rtt, &self.bdp, &[0.0]);
        let rows = parallel(cells.len() * 2, |i| {
            let share = |seed| scenario::beside_cubic(&cells[i / 2], i % 2 == 1, seed);
            let list: Vec<String> = (1..=self.seeds)
                .map(|seed| format!("{:3.0}", share(seed) * 100.0))
                .collect();
            list.join(" ")
        });
        for (i, cell) in cells.iter().enumerate() {
            writeln!(
                out,
                "{:>6} Mbit/s {:>3} ms {:>5} BDP: early {} late {}",
                cell.mbps,
                cell.rtt_ms,
                cell.bdp,
                rows[2 * i],
                rows[2 * i + 1]
            )?;
        }
        Ok(())
    }
}

/// Several default flows.
#[derive(Debug, Args)]
pub(crate) struct Own {
    /// Rates of the bottleneck in Mbit/s.
    #[arg(long, value_delimiter = ',', default_value = "100")]
    mbps: Vec<f64>,
    /// Round-trip times in ms.
    #[arg(long, value_delimiter = ',', default_value = "20,50,100,200")]
    rtt: Vec<u64>,
    /// Random losses behind the bottleneck, 0 to 1.
    #[arg(long, value_delimiter = ',', default_value = "0,0.01")]
    loss: Vec<f64>,
    /// Numbers of flows.
    #[arg(long, value_delimiter = ',', default_value = "2,4,8")]
    flows: Vec<u64>,
    /// Buffer in bandwidth-delay products.
    #[arg(long, default_value_t = 1.0)]
    bdp: f64,
    /// Runs of each cell with different seeds.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
}

impl Own {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<()> {
        let cells = cells(&self.mbps, &self.rtt, &[self.bdp], &self.loss);
        let jobs: Vec<(Cell, u64)> = cells
            .iter()
            .flat_map(|&cell| self.flows.iter().map(move |&n| (cell, n)))
            .collect();
        let rows = parallel(jobs.len(), |i| own(&jobs[i], self.seeds));
        for ((cell, n), row) in jobs.iter().zip(&rows) {
            let loss = cell.loss * 100.0;
            writeln!(
                out,
                "{:>6} Mbit/s {:>3} ms {loss:>4.1} % x{n}: {row}",
                cell.mbps, cell.rtt_ms
            )?;
        }
        Ok(())
    }
}

fn own((cell, n): &(Cell, u64), seeds: u64) -> String {
    let mut worst = (9.0, String::new());
    for seed in 1..=seeds {
        let mut bottleneck = Bottleneck::new(cell.link(), seed);
        for i in 0..*n {
            bottleneck.add(FlowConfig::new(Policy::Fair).start(Duration::from_secs(i)));
        }
        let from = Duration::from_secs(20 + n - 1);
        let to = from + Duration::from_secs(20);
        bottleneck.run(to);
        let shares = scenario::shares(&bottleneck, from..to);
        let jain = scenario::jain(&shares);
        let sum: f64 = (0..bottleneck.flows())
            .map(|i| bottleneck.flow(i).goodput(from..to).bytes_per_second() as f64)
            .sum();
        let queue = bottleneck.queue(from..to);
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

pub(crate) fn cells(mbps: &[f64], rtt: &[u64], bdp: &[f64], loss: &[f64]) -> Vec<Cell> {
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
