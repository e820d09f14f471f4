//! What SIGHUP changes: the settings are read again, and what is different is applied or said.
//! What can be applied, and how, is each program's own.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use serde::{Serialize, de::DeserializeOwned};
use toml::Table;
use tracing::{info, warn};

use crate::{exit_code::Failure, settings::SettingsFile};

/// Where a program's settings come from, and which of them are in force.
#[derive(Clone, Debug)]
pub struct Source<T> {
    /// What was typed or stands in the environment.
    typed: T,
    config: Option<PathBuf>,
    default_name: &'static str,
    /// What is in force.
    effective: Table,
}

impl<T> Source<T>
where
    T: Args + Clone + Default + DeserializeOwned + Serialize,
{
    /// Settings of `typed`, over those of the file `config`, or of the program's own.
    pub fn new(typed: T, config: Option<PathBuf>, default_name: &'static str) -> Self {
        Self {
            typed,
            config,
            default_name,
            effective: Table::new(),
        }
    }

    /// Reads the file and joins it with what was typed by `join`.
    ///
    /// # Errors
    /// The file cannot be read; the text says where.
    pub fn options(&self, join: impl Fn(T, T) -> T) -> Result<T, Failure> {
        let (options, _) = self.read(join, |options| Ok((options, T::default())))?;
        Ok(options)
    }

    /// Reads the file, joins it with what was typed by `join`, and has `understand` make of it what is
    /// meant and what is in effect.
    ///
    /// # Errors
    /// The file cannot be read or understood; the text says where.
    pub fn read<S>(
        &self,
        join: impl Fn(T, T) -> T,
        understand: impl Fn(T) -> Result<(S, T), Failure>,
    ) -> Result<(S, T), Failure> {
        let file = SettingsFile::<T>::read(self.config.as_deref(), self.default_name)?;
        let options = join(self.typed.clone(), file.options.clone());
        understand(options).map_err(|failure| file.blame(failure, &self.typed))
    }

    /// What is in force from here on.
    pub fn hold(&mut self, effective: &T) {
        self.effective = Table::try_from(effective).unwrap_or_default();
    }

    /// Says what of `effective` is different, `applied` being the options that a running program can
    /// change. What it cannot stays in force, and is said again next time.
    pub fn say_changed(&mut self, effective: &T, applied: &[&str]) {
        let after = Table::try_from(effective).unwrap_or_default();
        let changed = changed(&self.effective, &after);
        let (done, left): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|key| applied.contains(&key.as_str()));
        for key in &done {
            match after.get(key) {
                Some(value) => self.effective.insert(key.clone(), value.clone()),
                None => self.effective.remove(key),
            };
        }
        info!(changed = done.join(", "), "settings read again");
        if !left.is_empty() {
            warn!(
                options = left.join(", "),
                "changed, but only a restart applies them"
            );
        }
    }
}

/// Says that nothing was changed, and why.
pub fn say_unchanged(failure: &Failure) {
    warn!(%failure, "settings stay as they are");
}

/// The keys that two tables do not agree on.
fn changed(before: &Table, after: &Table) -> Vec<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differs = |key: &&String| before.get(*key) != after.get(*key);
    keys.into_iter().filter(differs).cloned().collect()
}

#[cfg(test)]
mod tests;
