//! What runs of the lab put on a machine beside namespaces: folders, programs, control groups and
//! changed kernel variables; and how all of it is undone after a run that was killed.
//! A run that ends in any other way removes its own.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{cgroup, netns, process::ProcessId, sysctl};

/// What every folder of the lab is called first; the id of its process follows.
const PREFIX: &str = "rapidpath-lab-";

/// The ending of files that name a program's process.
const PROCESS_FILE: &str = "process";

/// A file system in memory, so that no disk counts where files are sent and received.
const MEMORY: &str = "/dev/shm";

/// What was removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Namespaces, by name.
    pub namespaces: Vec<String>,
    /// Runs whose programs, folders or control groups were there.
    pub runs: usize,
}

/// Makes a folder of this run where temporary files belong.
pub(crate) fn make_folder() -> io::Result<TempDir> {
    make_folder_in(&std::env::temp_dir())
}

/// Makes a folder of this run in memory, or where temporary files belong if that is not to be had.
pub(crate) fn make_memory_folder() -> io::Result<TempDir> {
    make_folder_in(Path::new(MEMORY)).or_else(|_| make_folder())
}

fn make_folder_in(parent: &Path) -> io::Result<TempDir> {
    let own =
        ProcessId::own().ok_or_else(|| io::Error::other("this process is not listed in /proc"))?;
    tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{own}-"))
        .tempdir_in(parent)
}

/// Notes in `folder` that the process `number` belongs to it.
pub(crate) fn note_process(folder: &Path, name: &str, number: u32) -> io::Result<()> {
    match ProcessId::of(number) {
        Some(process) => fs::write(
            folder.join(name).with_extension(PROCESS_FILE),
            process.to_string(),
        ),
        // It has ended already.
        None => Ok(()),
    }
}

/// Undoes what runs that are over have left behind.
pub fn clean() -> io::Result<Removed> {
    remove(|owner| !owner.is_alive(), netns::clean()?)
}

/// Undoes what this process has done, for an end that does not come by dropping everything.
pub fn remove_own() {
    let Some(own) = ProcessId::own() else { return };
    netns::remove_own();
    // What cannot be undone is left to the next run or the clean-up command.
    let _ = remove(|owner| owner == own, Vec::new());
}

fn remove(is_meant: impl Fn(ProcessId) -> bool, namespaces: Vec<String>) -> io::Result<Removed> {
    let mut owners = cgroup::remove(&is_meant)?;
    for parent in [std::env::temp_dir(), PathBuf::from(MEMORY)] {
        for entry in fs::read_dir(parent).into_iter().flatten() {
            let entry = entry?;
            let owner = owner(&entry.file_name().to_string_lossy());
            if let Some(owner) = owner.filter(|owner| is_meant(*owner)) {
                undo(&entry.path())?;
                owners.push(owner);
            }
        }
    }
    owners.sort_by_key(ToString::to_string);
    owners.dedup();
    Ok(Removed {
        namespaces,
        runs: owners.len(),
    })
}

/// Undoes what the notes in `folder` say and removes it. Others may do the same at this moment.
fn undo(folder: &Path) -> io::Result<()> {
    unless_gone(end_programs(folder))?;
    unless_gone(sysctl::restore(folder))?;
    unless_gone(fs::remove_dir_all(folder))
}

fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The process in a folder's name; `None` if the folder is not the lab's.
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
    fn a_folder_that_vanishes_meanwhile_stops_nothing() {
        let parent = tempfile::tempdir().unwrap();
        undo(&parent.path().join("gone")).unwrap();
        let folder = parent.path().join("there");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("it"), "").unwrap();
        undo(&folder).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn a_folder_names_its_process_and_foreign_folders_none() {
        let own = ProcessId::own().unwrap();
        assert_eq!(owner(&format!("rapidpath-lab-{own}-Ab3x")), Some(own));
        assert_eq!(owner("rapidpath-lab-Ab3x"), None);
        assert_eq!(owner("somebody-elses-1-2-x"), None);
    }
}
