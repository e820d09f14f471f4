//! `lab netem`: the same scenarios and peers over the kernel's `tc netem` and over the TUN carrier. How each is
//! measured is in `netem::cells`; here are the arguments, the choice of the backend and the lines printed.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use rp_netem_tests::{
    implementation::{self, Carrier, Implementation, Kit},
    leftovers,
    netem::{
        self, Plan,
        cells::{Cell, measure},
        vm,
    },
    quantity::Time,
    record::{Circumstances, Journal, default_file},
    report::netem::Record,
    scenario::Scenario,
};

use crate::{
    End,
    interrupt::{self, Interrupt},
};

/// What the carriers are compared over unless somebody says otherwise.
const SCENARIOS: [&str; 4] = [
    "netem-20-clean",
    "netem-20-lossy",
    "netem-50-clean",
    "netem-50-lossy",
];

/// Whom they are compared with.
const PEERS: [&str; 3] = ["tcp-cubic", "tcp-bbr", "rpcp"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Scenarios' names, or paths ending in `.toml`
    #[arg(default_values = SCENARIOS)]
    scenarios: Vec<String>,
    /// Who sends (`lab implementations` lists all)
    #[arg(long, value_delimiter = ',', value_name = "NAME,...", default_values = PEERS)]
    peers: Vec<String>,
    /// Where netem runs, and whether the TUN carrier is measured beside it
    #[arg(long, default_value = "auto")]
    backend: Backend,
    /// How much each sends: what the bottleneck carries in this time
    #[arg(long, default_value = "10s")]
    length: Time,
    /// Longest time one transfer may take
    #[arg(long, default_value = "60s")]
    limit: Time,
    /// How often each
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Print what `tc` would be told and what it cannot be told, and run nothing
    #[arg(long)]
    print: bool,
    /// Where records are added
    #[arg(long, value_name = "FILE", default_value_os_t = default_file("netem"))]
    out: PathBuf,
    /// Folder of ready-made rpserver and rpcp; built if absent
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Print records instead of keeping them: for the emulated machine
    #[arg(long, hide = true)]
    inside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Backend {
    /// netem of this kernel, or of an emulated machine's where it has none, which takes half a minute a transfer;
    /// and TUN
    Auto,
    /// netem of this kernel alone
    Kernel,
    /// netem of an emulated machine alone
    Vm,
    /// TUN alone
    Tun,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let scenarios = self
            .scenarios
            .iter()
            .map(|name| Scenario::load(name))
            .collect::<Result<Vec<_>, _>>()?;
        if self.print {
            for scenario in &scenarios {
                print(scenario)?;
            }
            return Ok(End::Good);
        }
        let implementations = self
            .peers
            .iter()
            .map(|name| {
                implementation::find(name).with_context(|| {
                    format!("there is no implementation {name} (see lab implementations)")
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        interrupt::guard(move |interrupt| {
            leftovers::clean()?;
            let run = Run {
                kit: Kit::new(self.programs.clone(), vm::is_inside())?,
                args: self,
                scenarios,
                implementations,
                interrupt,
            };
            if run.args.inside {
                run.inside()
            } else {
                run.compare()
            }
        })
    }
}

type Keep<'a> = &'a mut dyn FnMut(&Record) -> anyhow::Result<()>;

struct Run<'a> {
    args: Args,
    scenarios: Vec<Scenario>,
    implementations: Vec<&'static dyn Implementation>,
    kit: Kit,
    interrupt: &'a Interrupt,
}

impl Run<'_> {
    fn compare(&self) -> anyhow::Result<End> {
        let mut journal = Journal::open(&self.args.out)?;
        let mut good = true;
        let mut keep = |record: &Record| -> anyhow::Result<()> {
            good &= record.mbps().is_some();
            journal.append(record)?;
            tell(&line(record))
        };
        match self.args.backend {
            Backend::Tun => {}
            Backend::Kernel => self.here(Carrier::Netem, &mut keep)?,
            Backend::Vm => self.in_vm(&mut keep)?,
            Backend::Auto => match netem::unavailable() {
                None => {
                    tell("netem: of this kernel")?;
                    self.here(Carrier::Netem, &mut keep)?;
                }
                Some(reason) => {
                    tell(&format!("netem: not here: {reason}"))?;
                    self.in_vm(&mut keep)?;
                }
            },
        }
        if matches!(self.args.backend, Backend::Auto | Backend::Tun) {
            tell("TUN carrier: of this kernel")?;
            self.here(Carrier::Tun, &mut keep)?;
        }
        Ok(if good { End::Good } else { End::Bad })
    }

    fn cells(&self, carrier: Carrier) -> Vec<Cell<'_>> {
        let mut cells = Vec::new();
        for scenario in &self.scenarios {
            for repetition in 0..self.args.repeat {
                for &implementation in &self.implementations {
                    cells.push(Cell {
                        scenario,
                        implementation,
                        carrier,
                        repetition,
                        length: self.args.length.0,
                        limit: self.args.limit.0,
                    });
                }
            }
        }
        cells
    }

    fn here(&self, carrier: Carrier, keep: Keep<'_>) -> anyhow::Result<()> {
        for cell in self.cells(carrier) {
            let record = measure(cell, &self.kit);
            // Its programs may have been ended on purpose: that is no result.
            if self.interrupt.is_requested() {
                break;
            }
            keep(&record)?;
        }
        Ok(())
    }

    /// In the emulated machine: netem is here or nowhere, and records go to standard output.
    fn inside(&self) -> anyhow::Result<End> {
        if !vm::is_inside() {
            bail!("--inside is for the emulated machine");
        }
        let folder = self.kit.programs_folder()?;
        let [rpcp, rpserver] = ["rpcp", "rpserver"].map(|name| folder.join(name));
        vm::read_ahead(&[&std::env::current_exe()?, &rpcp, &rpserver])?;
        self.here(Carrier::Netem, &mut |record| {
            tell(&serde_json::to_string(record)?)
        })?;
        Ok(End::Good)
    }

    fn in_vm(&self, keep: Keep<'_>) -> anyhow::Result<()> {
        let kernel = vm::prepare()?;
        tell(&format!(
            "netem: of Debian's kernel {kernel}, in a machine emulated in software"
        ))?;
        let mut words: Vec<OsString> = vec!["netem".into(), "--inside".into()];
        words.extend(["--length".into(), seconds(self.args.length.0)]);
        words.extend(["--limit".into(), seconds(self.args.limit.0)]);
        words.extend(["--repeat".into(), self.args.repeat.to_string().into()]);
        words.extend(["--programs".into(), self.kit.programs_folder()?.into()]);
        words.extend(["--peers".into(), self.args.peers.join(",").into()]);
        words.extend(self.args.scenarios.iter().map(OsString::from));
        let count = u32::try_from(self.cells(Carrier::Netem).len()).unwrap_or(u32::MAX);
        // Programs start slowly there.
        let limit = (self.args.limit.0 + Duration::from_secs(15)) * count;
        let outside = Circumstances::now();
        let mut received = 0;
        let machine = vm::Machine {
            limit,
            folder: self.kit.folder(),
        };
        vm::run(&words, machine, &mut |text| {
            let mut record: Record = serde_json::from_str(text)?;
            // The machine sees no history, was given other words, and has a clock of its own.
            record.circumstances.unix_time = outside.unix_time;
            record.circumstances.revision.clone_from(&outside.revision);
            record.circumstances.command.clone_from(&outside.command);
            received += 1;
            keep(&record)
        })?;
        if received < count {
            bail!("the emulated machine answered {received} of {count} times");
        }
        Ok(())
    }
}

fn seconds(time: Duration) -> OsString {
    format!("{}ms", time.as_millis()).into()
}

fn print(scenario: &Scenario) -> anyhow::Result<()> {
    tell(&format!("{}: {}", scenario.name, scenario.about))?;
    for (way, link) in [("there", &scenario.forward), ("back", &scenario.back)] {
        let plan = Plan::of(link);
        tell(&format!(
            "  {way}: tc qdisc add dev DEVICE root {}",
            plan.qdisc.join(" ")
        ))?;
        for (at, words) in &plan.steps {
            tell(&format!(
                "  {way}, after {at:?}: tc qdisc change dev DEVICE root {}",
                words.join(" ")
            ))?;
        }
        for note in &plan.notes {
            tell(&format!("  {way}: {note}"))?;
        }
    }
    Ok(())
}

fn line(record: &Record) -> String {
    let figure = record
        .mbps()
        .map_or_else(String::new, |mbps| format!("{mbps:.2} Mbit/s"));
    let seconds = record.figures.as_ref().map_or(0.0, |f| f.elapsed_s);
    let carrier = match record.carrier {
        Carrier::Netem => "netem",
        Carrier::Tun => "TUN",
    };
    format!(
        "{:<16} {:<10} {carrier:<6} {figure:>14} in {seconds:.1} s, {:?}",
        record.scenario, record.peer, record.outcome
    )
}

fn tell(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}
