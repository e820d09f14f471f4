//! The grid: a cell has a name made of its values, such as `100Mbit-200ms-1%-1BDP`, and needs no file.
//! Which cells are run with whom is the matter of `grid`.

use std::{fs, path::Path, time::Duration};

use serde::Deserialize;

use super::{Scenario, ScenarioError, scenarios_dir};
use crate::{
    link::LinkConfig,
    loss::Loss,
    quantity::{Queue, Rate, Share, Time},
    queue::QueueLimit,
};

/// The file of the axes.
pub(super) const FILE: &str = "grid.toml";

/// Largest packet of every cell.
const MTU: usize = 1500;

/// The values of `scenarios/grid.toml`, as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Axes {
    /// What the grid is.
    pub about: String,
    /// Rates that can be emulated in real time.
    pub rates: Vec<String>,
    /// Rates for virtual time alone.
    pub virtual_rates: Vec<String>,
    /// Round trips.
    pub round_trips: Vec<String>,
    /// Loss in either direction.
    pub losses: Vec<String>,
    /// Buffers.
    pub buffers: Vec<String>,
}

impl Axes {
    /// Reads the axes.
    ///
    /// # Errors
    /// The file is not there, or a value cannot be read.
    pub fn load() -> Result<Self, ScenarioError> {
        let file = scenarios_dir().join(FILE);
        let text =
            fs::read_to_string(&file).map_err(|error| ScenarioError::of_file(&file, error))?;
        let axes: Self = toml::from_str(&text)
            .map_err(|error| ScenarioError::unreadable(&file, &text, &error))?;
        for name in axes.cells(true) {
            cell(&name)?;
        }
        Ok(axes)
    }

    /// The names of all cells, those for virtual time alone only if asked for.
    pub fn cells(&self, with_virtual: bool) -> Vec<String> {
        let more: &[String] = if with_virtual {
            &self.virtual_rates
        } else {
            &[]
        };
        let mut names = Vec::new();
        for rate in self.rates.iter().chain(more) {
            for round_trip in &self.round_trips {
                for loss in &self.losses {
                    for buffer in &self.buffers {
                        names.push(format!("{rate}-{round_trip}-{loss}-{buffer}"));
                    }
                }
            }
        }
        names
    }
}

/// Whether a name is meant as a cell's.
pub(super) fn is_cell(name: &str) -> bool {
    name.split('-').count() == 4 && name.starts_with(|c: char| c.is_ascii_digit())
}

/// The scenario of a cell's name: rate, round trip, loss each way and buffer.
pub(super) fn cell(name: &str) -> Result<Scenario, ScenarioError> {
    let parts: Vec<&str> = name.split('-').collect();
    let [rate, round_trip, loss, buffer] = parts[..] else {
        return Err(bad(name, "has not four parts", "a cell"));
    };
    let Rate(rate) = rate.parse().map_err(|error| bad(name, error, "its rate"))?;
    let Time(round_trip) = round_trip
        .parse()
        .map_err(|error| bad(name, error, "its round trip"))?;
    let Share(loss) = loss.parse().map_err(|error| bad(name, error, "its loss"))?;
    let Queue(buffer) = buffer
        .parse()
        .map_err(|error| bad(name, error, "its buffer"))?;
    if rate.bits_per_second() == 0 || round_trip < Duration::from_nanos(2) {
        return Err(bad(name, "is zero", "its rate or round trip"));
    }
    let link = LinkConfig::new(rate, round_trip / 2)
        .queue(match buffer {
            QueueLimit::Bdp(factor) => QueueLimit::Bytes(rate.scaled(factor).bytes_in(round_trip)),
            other => other,
        })
        .loss(Loss::bernoulli(loss))
        .mtu(MTU);
    Ok(Scenario {
        name: name.to_owned(),
        about: format!(
            "A cell of the grid: {}, {} of round trip, {} lost each way, a buffer of {}.",
            parts[0], parts[1], parts[2], parts[3]
        ),
        forward: link.clone(),
        back: link,
        cross: Vec::new(),
        budget: None,
    })
}

fn bad(name: &str, what: impl std::fmt::Display, which: &str) -> ScenarioError {
    ScenarioError::of_file(
        Path::new(name),
        format!("{which}: {what}; a cell is named like `100Mbit-200ms-1%-1BDP`"),
    )
}
