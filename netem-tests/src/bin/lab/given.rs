//! Arguments that many subcommands take: where programs come from, and where records go.

use std::path::PathBuf;

use rp_netem_tests::{implementation::Kit, record};

/// What a subcommand runs.
#[derive(clap::Args, Clone)]
pub(crate) struct Tools {
    /// Use our programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Install nothing
    #[arg(long)]
    offline: bool,
}

impl Tools {
    /// What there is to run.
    pub(crate) fn kit(self) -> anyhow::Result<Kit> {
        Kit::new(self.programs, self.offline)
    }
}

/// What a subcommand runs, and where its records go.
#[derive(clap::Args, Clone)]
pub(crate) struct Recorded {
    /// Where the records go, if not to the folder of results
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tools: Tools,
}

impl Recorded {
    /// The file for records of this kind.
    pub(crate) fn out(&self, kind: &str) -> PathBuf {
        let out = self.out.clone();
        out.unwrap_or_else(|| record::default_file(kind))
    }
}
