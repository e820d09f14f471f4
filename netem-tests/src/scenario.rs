//! Named links: what `scenarios/*.toml` say, turned into the two directions' settings.
//! Running something across them is the carriers' matter.
//!
//! A new scenario is: one file in `scenarios/`, named for what it is. Cells of the grid have names and no files.

mod axes;
mod budget;
mod cross;
mod error;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use self::text::Document;
pub use self::{
    axes::Axes,
    budget::Budget,
    cross::{Cross, CrossKind},
    error::ScenarioError,
};
use crate::link::LinkConfig;

/// A link with a name, both ways.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// One sentence for readers of a report.
    pub about: String,
    /// From the data's sender to its receiver.
    pub forward: LinkConfig,
    /// The way back.
    pub back: LinkConfig,
    /// Who else is on the way there, in virtual time.
    pub cross: Vec<Cross>,
    /// What a transfer may cost in virtual time.
    pub budget: Option<Budget>,
}

impl Scenario {
    /// Reads a scenario: a path ending in `.toml`, the name of a file in the crate's `scenarios` folder, or a
    /// cell of the grid.
    ///
    /// # Errors
    /// There is no such scenario, or its file is wrong; the text names file, line and field.
    pub fn load(name_or_path: &str) -> Result<Self, ScenarioError> {
        let given = Path::new(name_or_path);
        let is_file = given.extension().is_some_and(|ending| ending == "toml");
        if !is_file && axes::is_cell(name_or_path) {
            return axes::cell(name_or_path);
        }
        let path = if is_file {
            given.to_path_buf()
        } else {
            scenarios_dir().join(given).with_added_extension("toml")
        };
        let text =
            fs::read_to_string(&path).map_err(|error| ScenarioError::of_file(&path, error))?;
        Self::parse(&path, &text)
    }

    /// Every scenario that has a file in the crate's folder, by name.
    ///
    /// # Errors
    /// One of them is wrong.
    pub fn all() -> Result<Vec<Self>, ScenarioError> {
        let dir = scenarios_dir();
        let listing = |error: std::io::Error| ScenarioError::of_file(&dir, error);
        let mut paths = Vec::new();
        for entry in fs::read_dir(&dir).map_err(listing)? {
            let path = entry.map_err(listing)?.path();
            let is_scenario = path.extension().is_some_and(|ending| ending == "toml");
            if is_scenario && !path.ends_with(axes::FILE) {
                paths.push(path);
            }
        }
        paths.sort();
        paths
            .iter()
            .map(|path| Self::load(&path.to_string_lossy()))
            .collect()
    }

    /// Reads a scenario from `text`; `file` gives its name and stands in errors.
    ///
    /// # Errors
    /// Something in it cannot be read or cannot be meant.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ScenarioError> {
        let document: Document =
            toml::from_str(text).map_err(|error| ScenarioError::unreadable(file, text, &error))?;
        if let Some(what) = document.contradiction() {
            return Err(ScenarioError::contradiction(file, text, &what));
        }
        let (forward, back) = document.directions();
        Ok(Self {
            name: file
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default(),
            about: document.about,
            forward: forward.config(&back),
            back: back.config(&forward),
            cross: document.cross.iter().flatten().map(Cross::from).collect(),
            budget: document.budget.map(Budget::from),
        })
    }
}

fn scenarios_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

#[cfg(test)]
mod tests;
