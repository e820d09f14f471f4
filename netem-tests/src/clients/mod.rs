//! Real, unmodified clients and servers over an emulated link, through `rpclient` and `rpserver` and without
//! them. Records and their table are in `report::clients`.
//!
//! A new client is: one `Row` in the file of its family. A new family is: one file with its `ROWS`,
//! one line in `FAMILIES`.

mod browser;
mod curl;
mod databases;
mod downloads;
mod ftp;
mod names;
mod repositories;
mod row;
mod servers;
mod site;
mod ssh;
mod transparent;
mod websocket;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;
use rp_protocol::units::Bandwidth;

use self::{
    row::Row,
    site::{Link, Measured, Site},
};
use crate::{
    implementation::Kit,
    leftovers, netns,
    record::{Circumstances, Journal},
    report::clients::{Part, Record},
};

/// All rows, family by family, in the order of the table.
const FAMILIES: &[&[Row]] = &[
    curl::ROWS,
    websocket::ROWS,
    downloads::ROWS,
    browser::ROWS,
    ftp::ROWS,
    ssh::ROWS,
    repositories::ROWS,
    databases::ROWS,
    names::ROWS,
    transparent::ROWS,
];

/// How long a client may take through the pair beyond what the link's rate would take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of rows or their beginnings; none means all that are not on request.
    pub only: Vec<String>,
    /// Of the link.
    pub rate: Bandwidth,
    /// Share of packets lost, each way.
    pub loss: f64,
    /// Of the link's chances.
    pub seed: u64,
    /// When a client by plain TCP is cut off.
    pub plain_limit: Duration,
    /// Leave plain TCP out.
    pub is_proxied_only: bool,
    /// Where the records go.
    pub out: PathBuf,
}

/// What whoever waits hears.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// What is being done to the machine.
    Step(&'a str),
    /// What has come of a client.
    Row(&'a Record),
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows whose bytes arrived, the same, in time.
    pub good: usize,
    /// Rows that went wrong or could not be measured.
    pub bad: usize,
}

/// The names of all rows, and whether each is measured only on request.
pub fn names() -> impl Iterator<Item = (&'static str, bool)> {
    let rows = FAMILIES.iter().copied().flatten();
    rows.map(|row| (row.name, row.is_on_request))
}

/// Measures row by row until `is_stopped`; `tell` hears of each as it comes.
///
/// # Errors
/// A name means no row, this machine has no namespaces, or records cannot be written. A client that fails
/// is a record.
pub fn run(
    options: &Options,
    kit: &Kit,
    is_stopped: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(News<'_>),
) -> anyhow::Result<Summary> {
    let rows = chosen(&options.only)?;
    if let Some(reason) = netns::unavailable() {
        anyhow::bail!("nothing can be measured here: {reason}");
    }
    leftovers::clean()?;
    let mut journal = Journal::open(&options.out)?;
    let mut summary = Summary::default();
    for row in rows {
        let installed = install(row, kit, tell);
        let record = options.measure(row, kit, installed);
        if is_stopped() {
            break;
        }
        if record.is_good() {
            summary.good += 1;
        } else {
            summary.bad += 1;
        }
        journal.append(&record)?;
        tell(News::Row(&record));
    }
    Ok(summary)
}

/// The rows that are named, or begin so if no row has the whole name; without names, all that are not on
/// request.
fn chosen(only: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    let all = || FAMILIES.iter().copied().flatten();
    if only.is_empty() {
        return Ok(all().filter(|row| !row.is_on_request).collect());
    }
    let is_whole = |name: &String| all().any(|row| row.name == name);
    let is_meant = |row: &Row, name: &String| {
        row.name == name || (!is_whole(name) && row.name.starts_with(name.as_str()))
    };
    for name in only {
        ensure!(
            all().any(|row| is_meant(row, name)),
            "there is no client {name} (see lab clients --list)"
        );
    }
    let is_chosen = |row: &&Row| only.iter().any(|name| is_meant(row, name));
    Ok(all().filter(is_chosen).collect())
}

impl Options {
    fn measure(
        &self,
        row: &'static Row,
        kit: &Kit,
        installed: anyhow::Result<Vec<String>>,
    ) -> Record {
        let link = Link {
            rate: self.rate,
            loss: self.loss,
            seed: self.seed,
        };
        let installed = installed.map_err(|error| format!("{error:#}"));
        let part = |is_proxied: bool, limit: Duration| -> Result<Part, String> {
            installed.as_ref().map_err(String::clone)?;
            Site::make(row, kit, link, is_proxied)
                .and_then(|site| site.measure(limit))
                .map(Part::from)
                .map_err(|error| format!("{error:#}"))
        };
        let ideal = Duration::from_secs_f64(
            row.bytes as f64 * 8.0 / self.rate.bits_per_second().max(1) as f64,
        );
        let proxied = part(true, ideal * 2 + PATIENCE);
        let plain = (!self.is_proxied_only).then(|| part(false, self.plain_limit));
        Record {
            kind: Record::KIND.to_owned(),
            client: row.name.to_owned(),
            command: row.script(true).trim().to_owned(),
            through: row.through.text(),
            versions: installed.unwrap_or_default(),
            rate_bits: self.rate.bits_per_second(),
            round_trip_ms: row.round_trip_ms,
            loss: self.loss,
            seed: self.seed,
            wanted: row.bytes,
            at_most_s: row.at_most_s,
            proxied,
            plain,
            circumstances: Circumstances::now(),
        }
    }
}

/// Gets the packages that are missing; what Debian calls the versions of all.
fn install(row: &Row, kit: &Kit, tell: &mut dyn FnMut(News<'_>)) -> anyhow::Result<Vec<String>> {
    kit.programs()?;
    let mut versions = Vec::new();
    for package in row.packages() {
        if !Path::new(package.file).exists() {
            let step = format!("{} needs the Debian package {}", row.name, package.name);
            tell(News::Step(&step));
        }
        kit.debian(package.name, package.file)?;
        let version = kit.debian_version(package.name)?;
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    Ok(versions)
}

impl From<Measured> for Part {
    fn from(measured: Measured) -> Self {
        Self {
            bytes: measured.bytes,
            elapsed_s: measured.elapsed.as_secs_f64(),
            is_equal: measured.is_equal,
        }
    }
}

#[cfg(test)]
mod tests;
