//! Grid files, `grids/*.toml`: names of links, or a product of their properties, and who is measured.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::scenario::{Scenario, ScenarioError};

/// A grid as written.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The links.
    pub scenarios: Vec<Scenario>,
    /// Names of implementations.
    pub peers: Vec<String>,
    /// How often each, if the file says.
    pub repeat: Option<u32>,
}

/// What is wrong with a grid, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GridError(String);

impl fmt::Display for GridError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GridError {}

impl From<ScenarioError> for GridError {
    fn from(error: ScenarioError) -> Self {
        Self(error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "about")]
    _about: String,
    #[serde(default)]
    scenarios: Vec<String>,
    peers: Vec<String>,
    repeat: Option<u32>,
    product: Option<Product>,
}

/// Every combination is a link.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Product {
    rate: Vec<String>,
    round_trip: Vec<crate::quantity::Time>,
    loss: Vec<String>,
    buffer: Vec<String>,
}

impl Grid {
    /// Reads a grid: a path, or the name of a file in the crate's `grids` folder.
    ///
    /// # Errors
    /// The file, or a scenario it names, cannot be read; the text names file, line and field.
    pub fn load(name_or_path: &str) -> Result<Self, GridError> {
        let given = Path::new(name_or_path);
        let path = if given.extension().is_some() {
            given.to_path_buf()
        } else {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grids");
            folder.join(given).with_extension("toml")
        };
        let text = fs::read_to_string(&path)
            .map_err(|error| GridError(format!("{}: {error}", path.display())))?;
        Self::parse(&path, &text)
    }

    /// Reads a grid from `text`; `file` stands in errors.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn parse(file: &Path, text: &str) -> Result<Self, GridError> {
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| {
                text[..span.start.min(text.len())].matches('\n').count() + 1
            });
            let message = error.message();
            GridError(format!("{}:{line}: {message}", file.display()))
        })?;
        let mut scenarios = Vec::new();
        for name in &document.scenarios {
            scenarios.push(Scenario::load(name)?);
        }
        if let Some(product) = &document.product {
            product.expand(file, &mut scenarios)?;
        }
        if scenarios.is_empty() || document.peers.is_empty() {
            let message = "a grid needs `scenarios` or `[product]`, and `peers`";
            return Err(GridError(format!("{}: {message}", file.display())));
        }
        Ok(Self {
            scenarios,
            peers: document.peers,
            repeat: document.repeat,
        })
    }
}

impl Product {
    fn expand(&self, file: &Path, scenarios: &mut Vec<Scenario>) -> Result<(), GridError> {
        for rate in &self.rate {
            for round_trip in &self.round_trip {
                for loss in &self.loss {
                    for buffer in &self.buffer {
                        let millis = round_trip.0.as_secs_f64() * 1e3;
                        let name = format!("{rate}-{millis}ms-{loss}-{buffer}");
                        let text = format!(
                            "about = \"{rate}/s, {millis} ms, {loss} loss each way, {buffer} of buffer.\"\n\
                             [link]\nrate = \"{rate}\"\ndelay = \"{}us\"\nloss = \"{loss}\"\n\
                             queue = \"{buffer}\"\nmtu = \"1500B\"\n",
                            round_trip.0.as_micros() / 2
                        );
                        // The ending is cut off again: dots within the name are part of it.
                        let named = PathBuf::from(format!("{name}.toml"));
                        let scenario = Scenario::parse(&named, &text).map_err(|error| {
                            GridError(format!("{}: `[product]`: {error}", file.display()))
                        })?;
                        scenarios.push(scenario);
                    }
                }
            }
        }
        Ok(())
    }
}
