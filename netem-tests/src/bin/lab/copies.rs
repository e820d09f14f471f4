//! `lab copies`: whole copies of files and trees. What is measured how is in the library's `copies`.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use rp_netem_tests::{
    copies::{self, Link, Options, Work},
    quantity::{Rate, Share, Time},
    report::{
        copies::{Record, table},
        threshold,
    },
};

use crate::{End, given::Recorded, interrupt, rows};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is copied: so many files of so many bytes, as 20000x4096
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = work,
        default_value = "20000x4096,1x200000000,1x100000,1x1000000",
        value_name = "FILESxBYTES,..."
    )]
    works: Vec<Work>,
    /// Of the link
    #[arg(long, default_value = "100Mbit")]
    rate: Rate,
    /// Without queues
    #[arg(long, default_value = "200ms", value_name = "TIME")]
    rtt: Time,
    /// Packets lost, each way
    #[arg(long, default_value = "1%", value_name = "SHARE")]
    loss: Share,
    /// Emulate nothing: both ends over loopback
    #[arg(long, conflicts_with_all = ["rate", "rtt", "loss"])]
    no_link: bool,
    /// Read and write files in this folder of a disk, not in memory
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Copy a tree in either direction, and kill the programs so often
    #[arg(long, value_name = "N", conflicts_with_all = ["works", "no_link", "folder"])]
    kills: Option<u32>,
    /// Of the moments of the kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often each
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// When a copy is cut off
    #[arg(long, default_value = "120s", value_name = "TIME")]
    limit: Time,
    #[command(flatten)]
    recorded: Recorded,
}

/// `20000x4096`.
fn work(typed: &str) -> Result<Work, String> {
    let parsed = typed.split_once('x').and_then(|(files, bytes)| {
        Some(Work {
            files: files.parse().ok().filter(|&files| files > 0)?,
            bytes: bytes.parse().ok()?,
        })
    });
    parsed.ok_or_else(|| "so many files of so many bytes, as 20000x4096".to_owned())
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        if let Some(kills) = self.kills {
            return self.kill(kills);
        }
        let options = Options {
            works: self.works,
            link: (!self.no_link).then_some(Link {
                rate: self.rate.0,
                round_trip: self.rtt.0,
                loss: self.loss.0,
            }),
            folder: self.folder,
            repeat: self.repeat,
            limit: self.limit.0.max(Duration::from_secs(1)),
            out: self.recorded.out(Record::KIND),
        };
        let tools = self.recorded.tools;
        interrupt::guard(move |interrupt| {
            let kit = tools.kit()?;
            let is_stopped = || interrupt.is_requested();
            let mut records = Vec::new();
            let is_good = copies::run(&options, &kit, &is_stopped, &mut |record| {
                // Nobody to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "lab: {}", record.brief());
                records.push(record.clone());
            })?;
            let mut out = io::stdout().lock();
            writeln!(out, "{}", table(&records))?;
            writeln!(out, "records in {}", options.out.display())?;
            Ok(if is_good { End::Good } else { End::Bad })
        })
    }

    fn kill(self, kills: u32) -> anyhow::Result<End> {
        let (recorded, seed) = (self.recorded, self.seed);
        interrupt::guard(move |_| {
            let out = recorded.out(threshold::Record::KIND);
            let kit = recorded.tools.kit()?;
            let found = copies::kills::run(kills, seed, &kit, &mut |line| {
                // Nobody to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "lab: {line}");
            })?;
            found.iter().for_each(rows::print);
            let end = rows::end(&found);
            rows::keep(&out, "copies --kills", found)?;
            end
        })
    }
}
