//! What an adversary can take from honest users of the released programs. Each attack runs once, over
//! loopback, and gives a row: what was done, a figure, and the most it may be. The attacks are beside
//! this file.
//!
//! A new attack is: one file here, one line in [`ALL`].

mod addresses;
mod client;
mod gets;
mod half_open;
mod names;
pub(crate) mod stage;
mod times;
pub(crate) mod unread;

use std::path::PathBuf;

use crate::programs::{self, Programs};
pub use crate::threshold::Row;

/// An attack by the name it is chosen with.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// What it is about.
    pub name: &'static str,
    run: fn(&Programs) -> anyhow::Result<Vec<Row>>,
}

/// All attacks, in the order in which they run.
pub const ALL: &[Attack] = &[
    Attack {
        name: "addresses",
        run: addresses::run,
    },
    Attack {
        name: "unread",
        run: unread::run,
    },
    Attack {
        name: "gets",
        run: gets::run,
    },
    Attack {
        name: "times",
        run: times::run,
    },
    Attack {
        name: "half-open",
        run: half_open::run,
    },
    Attack {
        name: "names",
        run: names::run,
    },
];

/// Which attacks, on which programs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of [`ALL`]; none means all.
    pub names: Vec<String>,
    /// Ready-made programs; built if absent.
    pub programs: Option<PathBuf>,
}

/// Runs them; `tell` hears of each row as it comes. One that cannot be run is a row that does not hold.
///
/// # Errors
/// The programs cannot be built.
pub fn run(options: &Options, tell: &mut dyn FnMut(&Row)) -> anyhow::Result<Vec<Row>> {
    let programs = match &options.programs {
        Some(folder) => Programs::in_folder(folder),
        None => programs::build()?,
    };
    let mut rows = Vec::new();
    let is_wanted =
        |name: &str| options.names.is_empty() || options.names.iter().any(|n| n == name);
    for attack in ALL.iter().filter(|attack| is_wanted(attack.name)) {
        let found = (attack.run)(&programs)
            .unwrap_or_else(|error| vec![Row::unmeasured(attack.name, &error)]);
        found.iter().for_each(&mut *tell);
        rows.extend(found);
    }
    Ok(rows)
}
