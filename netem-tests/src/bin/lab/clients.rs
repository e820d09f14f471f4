//! `lab clients`: real clients and servers through `rpclient` and `rpserver`. Which there are is in the
//! library's `clients`.

use std::{
    io::{self, Write},
    time::Duration,
};

use rp_netem_tests::{
    clients::{self, News, Options},
    quantity::{Rate, Share, Time},
    report::clients::{Record, table},
};

use crate::{End, given::Recorded, interrupt};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Clients to measure, or beginnings of their names; without it, all but those on request
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<String>,
    /// Say which clients there are, and measure nothing
    #[arg(long)]
    list: bool,
    /// Of the link
    #[arg(long, default_value = "100Mbit")]
    rate: Rate,
    /// Packets lost, each way
    #[arg(long, default_value = "1%", value_name = "SHARE")]
    loss: Share,
    /// When a client by plain TCP is cut off
    #[arg(long, default_value = "60s", value_name = "TIME")]
    plain_limit: Time,
    /// Leave plain TCP out
    #[arg(long)]
    no_plain: bool,
    /// Of the link's chances
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    recorded: Recorded,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        if self.list {
            let mut out = io::stdout().lock();
            for (name, is_on_request) in clients::names() {
                let note = if is_on_request { " (on request)" } else { "" };
                writeln!(out, "{name}{note}")?;
            }
            return Ok(End::Good);
        }
        let options = Options {
            only: self.only,
            rate: self.rate.0,
            loss: self.loss.0,
            seed: self.seed,
            plain_limit: self.plain_limit.0.max(Duration::from_secs(1)),
            is_proxied_only: self.no_plain,
            out: self.recorded.out(Record::KIND),
        };
        let tools = self.recorded.tools;
        interrupt::guard(move |interrupt| {
            let kit = tools.kit()?;
            let is_stopped = || interrupt.is_requested();
            let mut records = Vec::new();
            let summary = clients::run(&options, &kit, &is_stopped, &mut |news| {
                // Nobody to tell if standard error is closed.
                let _ = match news {
                    News::Step(step) => writeln!(io::stderr(), "lab: {step}"),
                    News::Row(record) => {
                        records.push(record.clone());
                        writeln!(io::stderr(), "{}", record.brief())
                    }
                };
            })?;
            let mut out = io::stdout().lock();
            writeln!(out, "{}", table(&records))?;
            let (good, all) = (summary.good, summary.good + summary.bad);
            writeln!(
                out,
                "{good} of {all} rows hold; records in {}",
                options.out.display()
            )?;
            let is_good = summary.bad == 0;
            Ok(if is_good { End::Good } else { End::Bad })
        })
    }
}
