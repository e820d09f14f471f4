//! What is wrong with a scenario file, and where: file, line and field.
//! The rules are in `text` and in the parent module.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// What is wrong with a scenario, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The field on that line.
    pub field: Option<String>,
    /// What is wrong, in words.
    pub message: String,
}

/// A rule that the values of a file break together, although each could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contradiction {
    /// The table's name as in its heading, such as `link` or `link.step`.
    pub(super) table: String,
    /// Which of several tables of that name, from 0.
    pub(super) index: usize,
    /// The field.
    pub(super) field: &'static str,
    /// What is wrong with it.
    pub(super) message: &'static str,
}

impl ScenarioError {
    /// About the file as a whole.
    pub(super) fn of_file(file: &Path, message: impl fmt::Display) -> Self {
        Self {
            file: file.to_path_buf(),
            line: None,
            field: None,
            message: message.to_string(),
        }
    }

    /// About what could not be read.
    pub(super) fn unreadable(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..start].matches('\n').count();
        let message = error.message().to_owned();
        // A field that is not there has no line of its own: the span is that of its table.
        if let Some(field) = message.strip_prefix("missing field ") {
            return Self {
                file: file.to_path_buf(),
                line: Some(line + 1),
                field: Some(field.trim_matches('`').to_owned()),
                message: "is missing".to_owned(),
            };
        }
        let field = text
            .lines()
            .nth(line)
            .and_then(|line| line.split_once('='))
            .map(|(field, _)| field.trim().to_owned());
        Self {
            file: file.to_path_buf(),
            line: Some(line + 1),
            field,
            message,
        }
    }

    /// About what could be read, but not meant.
    pub(super) fn contradiction(file: &Path, text: &str, what: &Contradiction) -> Self {
        Self {
            file: file.to_path_buf(),
            line: find(text, what).map(|line| line + 1),
            field: Some(what.field.to_owned()),
            message: what.message.to_owned(),
        }
    }
}

/// The line of a field, or else of its table's heading.
fn find(text: &str, what: &Contradiction) -> Option<usize> {
    let (mut table, mut seen, mut heading) = (String::new(), 0, None);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']', ' ']).to_owned();
            if table == what.table {
                if seen == what.index {
                    heading = Some(number);
                }
                seen += 1;
            }
        } else if table == what.table
            && seen == what.index + 1
            && line
                .strip_prefix(what.field)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        {
            return Some(number);
        }
    }
    heading
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": field `{field}`")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ScenarioError {}
