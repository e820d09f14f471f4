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
    /// Notes in `notes`, a folder of this run, what the variables were, and raises each to at least
    /// `least`. One that is high enough is left alone.
    pub(crate) fn new(notes: &Path, variables: &[&str], least: u64) -> io::Result<Self> {
        let raised = Self {
            notes: notes.to_path_buf(),
        };
        for variable in variables {
            let path = Path::new(VARIABLES).join(variable);
            let was = fs::read_to_string(&path)?;
            if was.trim().parse::<u64>().is_ok_and(|was| was < least) {
                let note = notes
                    .join(variable.replace('/', "."))
                    .with_added_extension(NOTE);
                // The note comes first, so that a run killed in between is undone all the same.
                fs::write(note, format!("{variable} {was}"))?;
                fs::write(&path, least.to_string())?;
            }
        }
        Ok(raised)
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
