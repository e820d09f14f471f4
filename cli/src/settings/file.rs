//! The settings file: TOML whose keys are the flags' names. A mistake in it is told with file, line and
//! key. What the values mean is decided in `settings`.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::{Serialize, de::DeserializeOwned};
use toml::de::{DeTable, Error};

use super::read_guarded;
use crate::{
    dirs,
    exit_code::Failure,
    guarded_file::{Guard, GuardError},
};

/// How much of a key must agree with a known one for that to be what was meant (clap: the same).
const SIMILAR: f64 = 0.7;

/// The options of a settings file, and where each of them stands.
#[derive(Clone, Debug, Default)]
pub struct SettingsFile<T> {
    /// What the file says.
    pub options: T,
    /// Where it is; `None` if there is none.
    path: Option<PathBuf>,
    /// The line of each key.
    lines: BTreeMap<String, usize>,
}

impl<T: Args + DeserializeOwned + Default> SettingsFile<T> {
    /// Reads the file `named`, or the program's own if it exists.
    ///
    /// # Errors
    /// The file named is missing, unreadable, or holds something else than settings.
    pub fn read(named: Option<&Path>, default_name: &str) -> Result<Self, Failure> {
        let default = || dirs::config().map(|dir| dir.join(default_name));
        let Some(path) = named.map(Path::to_owned).or_else(default) else {
            return Ok(Self::default());
        };
        match read_guarded(&path, Guard::Trusted) {
            Ok(text) => Self::parse(path, &text),
            Err(GuardError::Io(error))
                if error.kind() == io::ErrorKind::NotFound && named.is_none() =>
            {
                Ok(Self::default())
            }
            Err(error) => Err(Failure::usage(format!("{}: {error}", path.display()))),
        }
    }

    pub(crate) fn parse(path: PathBuf, text: &str) -> Result<Self, Failure> {
        let mistake = |span: Option<Range<usize>>, what: &str| {
            let line = line_at(text, span.map_or(0, |span| span.start));
            Failure::usage(format!("{} line {line}: {what}", path.display()))
        };
        let table = DeTable::parse(text).map_err(|error| mistake(error.span(), error.message()))?;
        let known = keys::<T>();
        let mut lines = BTreeMap::new();
        for key in table.get_ref().keys() {
            let name: &str = key.get_ref();
            if !known.iter().any(|known| known == name) {
                return Err(mistake(Some(key.span()), &unknown(name, &known)));
            }
            lines.insert(name.to_owned(), line_at(text, key.span().start));
        }
        let options = toml::from_str(text).map_err(|error: Error| {
            let span = error.span();
            let key = span.as_ref().and_then(|span| {
                let mut entries = table.get_ref().iter();
                entries.find(|(_, value)| value.span().contains(&span.start))
            });
            match key {
                Some((key, _)) => mistake(span, &format!("{}: {}", key.get_ref(), error.message())),
                None => mistake(span, error.message()),
            }
        })?;
        Ok(Self {
            options,
            path: Some(path),
            lines,
        })
    }
}

impl<T: Serialize> SettingsFile<T> {
    /// `failure` as whoever wrote the file should see it, if it is about an option that the file gave and
    /// `typed` did not.
    #[must_use]
    pub fn blame(&self, failure: Failure, typed: &T) -> Failure {
        let (Some(path), Some(option)) = (&self.path, failure.option) else {
            return failure;
        };
        let typed = toml::Table::try_from(typed).unwrap_or_default();
        match self.lines.get(option) {
            Some(line) if !typed.contains_key(option) => Failure {
                text: format!("{} line {line}: {}", path.display(), failure.text),
                ..failure
            },
            _ => failure,
        }
    }
}

/// Flags that have a meaning for one run only.
const TYPED_ONLY: [&str; 1] = ["once-key"];

/// The names of the flags that may stand in a file.
pub(super) fn keys<T: Args>() -> Vec<String> {
    let command = T::augment_args(clap::Command::new("settings"));
    let names = command.get_arguments().filter_map(clap::Arg::get_long);
    let names = names.filter(|name| !TYPED_ONLY.contains(name));
    names.map(str::to_owned).collect()
}

fn unknown(name: &str, known: &[String]) -> String {
    let similar = |known: &String| strsim::jaro_winkler(name, known);
    let nearest = known
        .iter()
        .max_by(|a, b| similar(a).total_cmp(&similar(b)))
        .filter(|nearest| similar(nearest) > SIMILAR);
    let name = name.escape_debug();
    match nearest {
        Some(nearest) => format!("unknown key `{name}`; did you mean `{nearest}`?"),
        None => format!("unknown key `{name}`; the keys are the names of the flags, see --help"),
    }
}

fn line_at(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    before.iter().filter(|&&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
