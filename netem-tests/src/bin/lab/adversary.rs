//! `lab adversary`: what an adversary can take from honest users. The attacks are in the library's
//! `adversary`.

use std::path::PathBuf;

use anyhow::ensure;
use rp_netem_tests::adversary::{self, Options};

use crate::{End, interrupt, rows};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which attacks: addresses, unread, gets, times, half-open, names; with none, all
    attacks: Vec<String>,
    /// Use our programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<End> {
        for name in &self.attacks {
            ensure!(
                adversary::ALL.iter().any(|attack| attack.name == name),
                "there is no attack {name} (see lab adversary --help)"
            );
        }
        let options = Options {
            names: self.attacks,
            programs: self.programs,
        };
        interrupt::guard(move |_| {
            let rows = adversary::run(&options, &mut rows::print)?;
            rows::end(&rows)
        })
    }
}
