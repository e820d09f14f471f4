//! `lab older`: what a second copy of a file that changed sends. What is measured how is in `older`.

use std::io::{self, Write};

use rp_netem_tests::{
    older::{self, Options},
    quantity::{Rate, Size, Time},
    report::threshold::Record,
};

use crate::{End, given::Recorded, interrupt, rows};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Of the file
    #[arg(long, default_value = "1GB")]
    size: Size,
    /// Of the link
    #[arg(long, default_value = "200Mbit")]
    rate: Rate,
    /// Without queues
    #[arg(long, default_value = "50ms", value_name = "TIME")]
    rtt: Time,
    #[command(flatten)]
    recorded: Recorded,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let options = Options {
            bytes: self.size.0,
            rate: self.rate.0,
            round_trip: self.rtt.0,
        };
        interrupt::guard(move |_| {
            let out = self.recorded.out(Record::KIND);
            let kit = self.recorded.tools.kit()?;
            let found = older::run(&options, &kit, &mut |note| {
                // Nobody to tell if standard error is closed.
                let _ = writeln!(io::stderr(), "lab: {note}");
            })?;
            found.iter().for_each(rows::print);
            let end = rows::end(&found);
            rows::keep(&out, "older", found)?;
            end
        })
    }
}
