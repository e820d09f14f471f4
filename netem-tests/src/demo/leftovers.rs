//! The demo's temporary folder, and what killed runs left: their folders and their programs.
//! A run that ends in any other way removes its own.

use std::{fs, io, path::Path};

use tempfile::TempDir;

use crate::process::ProcessId;

/// What every folder of the demo is called first; the id of its process follows.
const PREFIX: &str = "rapidpath-demo-";

/// The ending of files that name a program's process.
const PROCESS_FILE: &str = "process";

/// Makes this run's folder.
pub(super) fn make_folder() -> io::Result<TempDir> {
    let own =
        ProcessId::own().ok_or_else(|| io::Error::other("this process is not listed in /proc"))?;
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{own}-"))
        .tempdir()
}

/// Notes in `folder` that the process `number` belongs to it.
pub(super) fn note_process(folder: &Path, name: &str, number: u32) -> io::Result<()> {
    match ProcessId::of(number) {
        Some(process) => fs::write(
            folder.join(name).with_extension(PROCESS_FILE),
            process.to_string(),
        ),
        // It has ended already.
        None => Ok(()),
    }
}

/// Ends the programs and removes the folders of runs that are over; says how many runs.
pub fn clean() -> io::Result<usize> {
    let mut runs = 0;
    for entry in fs::read_dir(std::env::temp_dir())? {
        let entry = entry?;
        if owner(&entry.file_name().to_string_lossy()).is_some_and(|owner| !owner.is_alive()) {
            end_programs(&entry.path())?;
            fs::remove_dir_all(entry.path())?;
            runs += 1;
        }
    }
    Ok(runs)
}

/// The process in a folder's name; `None` if the folder is not the demo's.
fn owner(name: &str) -> Option<ProcessId> {
    let (process, _random) = name.strip_prefix(PREFIX)?.rsplit_once('-')?;
    process.parse().ok()
}

fn end_programs(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|ending| ending == PROCESS_FILE)
            && let Ok(process) = fs::read_to_string(&path)?.parse::<ProcessId>()
        {
            process.kill();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_its_process_and_foreign_folders_none() {
        let own = ProcessId::own().unwrap();
        assert_eq!(owner(&format!("rapidpath-demo-{own}-Ab3x")), Some(own));
        assert_eq!(owner("rapidpath-demo-Ab3x"), None);
        assert_eq!(owner("somebody-elses-1-2-x"), None);
    }
}
