//! The named scenarios, printed; their limits stand in `tests/controller.rs`.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use rp_netem_tests::flow::{
    Application, ArrivalTimes,
    named::{self, Impairment},
};
use rp_protocol::config::Policy;

use crate::parallel::parallel;

/// The named scenarios.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Runs of each scenario with different seeds.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Only those whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

impl Named {
    pub(crate) fn run(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rows = alone();
        rows.extend(fragile());
        rows.extend(lies());
        rows.extend(together());
        rows.retain(|(name, _)| name.contains(&self.only));
        let count = rows.len() * usize::try_from(self.seeds).unwrap_or(1);
        let figures = parallel(count, |i| {
            let (_, run) = &rows[i % rows.len()];
            run(1 + (i / rows.len()) as u64)
        });
        for (i, (name, _)) in rows.iter().enumerate() {
            let list: Vec<&str> = figures
                .iter()
                .skip(i)
                .step_by(rows.len())
                .map(String::as_str)
                .collect();
            writeln!(out, "{name:<24} {}", list.join(" | "))?;
        }
        Ok(())
    }
}

type Row = (String, Box<dyn Fn(u64) -> String + Sync>);

fn row(name: impl Into<String>, run: impl Fn(u64) -> String + Sync + 'static) -> Row {
    (name.into(), Box::new(run))
}

fn figures(solo: &rp_netem_tests::flow::scenario::Solo) -> String {
    format!(
        "{:.3} q {:.2}/{:.2} drops {:.3} start {:.1}",
        solo.goodput, solo.queue_mean, solo.queue_p95, solo.drops, solo.start_rtts
    )
}

fn alone() -> Vec<Row> {
    let mut rows = Vec::new();
    for rtt in [20, 100, 200] {
        rows.push(row(format!("step_10x {rtt}"), move |seed| {
            let f = named::step_10x(rtt, seed);
            format!(
                "low {:.3} back {:.3} after {:.1} s",
                f.low, f.back, f.back_after
            )
        }));
    }
    for mbps in [5.0, 30.0, 100.0] {
        for depth in [20, 100, 1000] {
            for loss in [0.0, 0.02] {
                rows.push(row(format!("police {mbps} {depth} {loss}"), move |seed| {
                    figures(&named::police(
                        mbps,
                        depth,
                        loss,
                        Duration::from_secs(40),
                        seed,
                    ))
                }));
            }
        }
    }
    rows.push(row("ratchet", |seed| {
        figures(&named::police(
            30.0,
            100,
            0.02,
            Duration::from_secs(300),
            seed,
        ))
    }));
    let ms = Duration::from_millis;
    let kinds = [
        Impairment::Jitter(ms(5)),
        Impairment::Jitter(ms(10)),
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
            rows.push(row(format!("{kind:?} {rtt}"), move |seed| {
                figures(&named::impaired(kind, rtt, seed))
            }));
        }
    }
    for rtt in [20, 100] {
        rows.push(row(format!("idle_burst {rtt}"), move |seed| {
            format!("{:.3}", named::idle_burst(rtt, seed))
        }));
    }
    rows.push(row("base_rises", |seed| {
        format!("{:.3}", named::base_rises(seed))
    }));
    rows.push(row("loss_rises", |seed| {
        format!("{:.3}", named::loss_rises(seed))
    }));
    rows.push(row("fixed_lie", |seed| {
        format!("{:.3}", named::fixed_lie(seed))
    }));
    rows.push(row("marking_queue", |seed| {
        let (goodput, queue) = named::marking_queue(seed);
        format!("{goodput:.3} queue {queue:.3}")
    }));
    rows
}

/// Receivers that lie about the times of arrival.
fn lies() -> Vec<Row> {
    let times = [
        ArrivalTimes::Divided(4),
        ArrivalTimes::Divided(100),
        ArrivalTimes::Equal,
        ArrivalTimes::Backwards,
        ArrivalTimes::Random,
        ArrivalTimes::Leaping(Duration::from_millis(200)),
        ArrivalTimes::Leaping(Duration::from_secs(2)),
    ];
    let mut rows = Vec::new();
    for times in times {
        for (mbps, rtt, bdp) in [(10.0, 50, 1.0), (10.0, 20, 0.5), (20.0, 100, 4.0)] {
            rows.push(row(
                format!("lie {times:?} {mbps} {rtt} {bdp}"),
                move |seed| {
                    let cell = named::plain(mbps, rtt, bdp, 0.0);
                    let (sent, goodput) = named::lying_receiver(&cell, Policy::Fair, times, seed);
                    format!("sent/passed {sent:.2} goodput {goodput:.2}")
                },
            ));
        }
    }
    rows
}

/// Scenarios in which a burst of loss, or the application, could stop a flow.
fn fragile() -> Vec<Row> {
    let mut rows = Vec::new();
    for loss in [0.0, 0.01, 0.05] {
        rows.push(row(format!("thin 100 {loss}"), move |seed| {
            let (median, low) = named::thin(Application::Answers, 100, loss, seed);
            format!("{median:.3} {low:.3}")
        }));
    }
    rows.push(row("burst_dead", |seed| {
        let (overall, least) = named::burst_dead(seed);
        format!("{overall:.3} {least:.3}")
    }));
    rows
}

fn together() -> Vec<Row> {
    let mut rows = Vec::new();
    for rtt in [20, 100, 200] {
        rows.push(row(format!("start_late {rtt}"), move |seed| {
            let (max, mean) = named::start_late(rtt, seed);
            format!("max {max:.2} later {mean:.2}")
        }));
        for own in [1, 3] {
            rows.push(row(format!("cubic_leaves {own} {rtt}"), move |seed| {
                let (queue, jain) = named::cubic_leaves(own, rtt, seed);
                format!("queue {queue:.2} jain {jain:.3}")
            }));
        }
        for bdp in [0.25, 1.0, 4.0] {
            rows.push(row(format!("cubic_4 {bdp} {rtt}"), move |seed| {
                let (ours, least) = named::cubic_4(bdp, rtt, seed);
                format!("ours {ours:.2} least {least:.2}")
            }));
        }
        for bdp in [0.25, 1.0, 4.0] {
            rows.push(row(format!("low_beside_cubic {bdp} {rtt}"), move |seed| {
                let (cubic, low) = named::low_beside_cubic(bdp, rtt, seed);
                format!("cubic keeps {cubic:.3}, low takes over {low:.2}")
            }));
        }
        rows.push(row(format!("web_half {rtt}"), move |seed| {
            let (queue, ours, web) = named::web_half(rtt, seed);
            format!("queue {queue:.2} ours {ours:.2} web {web:.2}")
        }));
        rows.push(row(format!("own_notrain {rtt}"), move |seed| {
            let cell = named::plain(100.0, rtt, 1.0, 0.0);
            let (jain, sum, queue) = named::own(&cell, 4, false, seed);
            format!("jain {jain:.2} sum {sum:.3} queue {queue:.2}")
        }));
    }
    rows.extend(beside_bbr());
    rows.push(row("late_full", |seed| {
        format!("{:.3}", named::late_full(seed))
    }));
    for (shorter, extra) in [(50, 100), (20, 80)] {
        rows.push(row(format!("rtt_unfair {shorter} +{extra}"), move |seed| {
            format!("{:.3}", named::rtt_unfair(shorter, extra, seed))
        }));
    }
    rows
}

fn beside_bbr() -> Vec<Row> {
    let mut rows = Vec::new();
    for rtt in [20, 60, 100, 200] {
        for bdp in [0.25, 0.5, 1.0, 2.0, 4.0] {
            for late in [false, true] {
                let when = if late { "late" } else { "early" };
                rows.push(row(format!("bbr_1 {bdp} {rtt} {when}"), move |seed| {
                    format!("ours {:.2}", named::bbr_1(bdp, rtt, late, seed))
                }));
            }
        }
    }
    rows
}
