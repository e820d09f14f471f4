//! Figures beside what they may be at most: the rows that commands of the lab end with.

use serde::{Deserialize, Serialize};

/// A figure and its threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What was done.
    pub what: String,
    /// What came of it, with the unit; or why it could not be measured.
    pub figure: String,
    /// What it may be at most.
    pub threshold: String,
    /// Whether it is.
    pub holds: bool,
}

impl Row {
    /// A figure that fails unless it is below its threshold.
    pub(crate) fn below(what: &str, figure: f64, threshold: f64, unit: &str) -> Self {
        Self {
            what: what.to_owned(),
            figure: format!("{figure:.2} {unit}"),
            threshold: format!("< {threshold} {unit}"),
            holds: figure < threshold,
        }
    }

    /// A figure that must not exceed its threshold.
    pub(crate) fn at_most(what: &str, figure: f64, threshold: f64, unit: &str) -> Self {
        Self {
            threshold: format!("<= {threshold} {unit}"),
            holds: figure <= threshold,
            ..Self::below(what, figure, threshold, unit)
        }
    }

    /// A figure that is told and not judged.
    pub(crate) fn told(what: &str, figure: f64, unit: &str) -> Self {
        Self {
            threshold: String::new(),
            holds: true,
            ..Self::below(what, figure, 0.0, unit)
        }
    }

    /// What could not be measured, which does not hold.
    pub(crate) fn unmeasured(what: &str, error: &anyhow::Error) -> Self {
        Self {
            what: what.to_owned(),
            figure: format!("cannot be measured: {error:#}"),
            threshold: String::new(),
            holds: false,
        }
    }
}
