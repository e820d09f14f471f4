//! Kernel variables of the whole machine that the lab raises, and their return to what they were.
//! Those of a namespace are set in `netns` and vanish with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The ending of files that note what a variable was.
const NOTE: &str = "sysctl";

/// Where the kernel shows its variables.
const VARIABLES: &str = "/proc/sys";

/// Variables at values of ours, until dropped.
#[derive(Debug)]
pub(crate) struct Raised {
    notes: PathBuf,
}

impl Raised {
    /// What the variables were is noted in `notes`, a folder of this run.
    pub(crate) fn new(notes: &Path) -> Self {
        Self {
            notes: notes.to_path_buf(),
        }
    }

    /// Raises a number. One that is high enough is left alone.
    pub(crate) fn at_least(&self, variable: &str, least: u64) -> io::Result<()> {
        self.change(variable, |was| {
            let is_enough = was.parse::<u64>().is_ok_and(|was| was >= least);
            (!is_enough).then(|| least.to_string())
        })
    }

    /// Adds a word to a list. One that is there already is not added again.
    pub(crate) fn with_word(&self, variable: &str, word: &str) -> io::Result<()> {
        self.change(variable, |was| {
            let is_there = was.split_whitespace().any(|known| known == word);
            (!is_there).then(|| format!("{was} {word}"))
        })
    }

    fn change(
        &self,
        variable: &str,
        new_value: impl FnOnce(&str) -> Option<String>,
    ) -> io::Result<()> {
        let path = Path::new(VARIABLES).join(variable);
        let was = fs::read_to_string(&path)?;
        let was = was.trim();
        if let Some(value) = new_value(was) {
            let name = variable.replace('/', ".");
            let note = self.notes.join(name).with_added_extension(NOTE);
            // The note comes first, so that a run killed in between is undone all the same.
            fs::write(note, format!("{variable} {was}"))?;
            fs::write(&path, value)?;
        }
        Ok(())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        // The notes stay where it failed, for the clean-up command.
        let _ = restore(&self.notes);
    }
}

/// Sets the variables that the notes in `folder` name to what they were.
pub(crate) fn restore(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == NOTE) {
            let text = fs::read_to_string(&path)?;
            if let Some((variable, was)) = text.split_once(' ') {
                fs::write(Path::new(VARIABLES).join(variable), was)?;
            }
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_high_enough_is_neither_changed_nor_noted() {
        let notes = tempfile::tempdir().unwrap();
        let raised = Raised::new(notes.path());
        raised.at_least("kernel/pid_max", 1).unwrap();
        raised.with_word("kernel/ostype", "Linux").unwrap();
        assert_eq!(fs::read_dir(notes.path()).unwrap().count(), 0);
    }
}
