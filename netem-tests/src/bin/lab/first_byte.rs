//! `lab first-byte`: the first byte of a small GET over a long path. What is measured how is in
//! `first_byte`.

use std::path::PathBuf;

use rp_netem_tests::{
    first_byte::{self, Options},
    implementation::Kit,
    quantity::{Rate, Time},
    record,
    report::threshold::Record,
};

use crate::{End, interrupt, rows};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Requests of each kind, of which the median counts
    #[arg(long, default_value_t = 20, value_name = "N")]
    requests: usize,
    /// Of the link
    #[arg(long, default_value = "100Mbit")]
    rate: Rate,
    /// Without queues
    #[arg(long, default_value = "100ms", value_name = "TIME")]
    rtt: Time,
    /// Where the record goes
    #[arg(long, value_name = "FILE", default_value_os_t = record::default_file(Record::KIND))]
    out: PathBuf,
    /// Use our programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        let options = Options {
            round_trip: self.rtt.0,
            requests: self.requests,
            rate: self.rate.0,
        };
        interrupt::guard(move |_| {
            let kit = Kit::new(self.programs, true)?;
            let found = first_byte::run(&options, &kit)?;
            found.iter().for_each(rows::print);
            let end = rows::end(&found);
            rows::keep(&self.out, "first-byte", found)?;
            end
        })
    }
}
