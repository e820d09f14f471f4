//! What the threads that work on files may touch at all: the kernel refuses them the rest (Landlock). Whatever is wrong
//! with how a path is checked, nothing outside is read or written then.

use std::{
    fmt, io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::{Arc, Once},
};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};

/// The rights that are taken: those of Linux 6.2, with less where the kernel knows less.
const RIGHTS: ABI = ABI::V3;

/// Folders that may be read, and those of them that may be written.
#[derive(Clone, Default)]
pub(super) struct Confinement {
    folders: Vec<Folder>,
    /// Nothing but writing is confined.
    reads_anywhere: bool,
}

#[derive(Clone)]
struct Folder {
    id: (u64, u64),
    folder: Arc<OwnedFd>,
    is_writable: bool,
}

impl fmt::Debug for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confinement")
            .field("folders", &self.folders.len())
            .field("reads_anywhere", &self.reads_anywhere)
            .finish()
    }
}

impl Confinement {
    /// Lets read anywhere; false if it was so.
    pub(super) fn add_reading(&mut self) -> bool {
        !std::mem::replace(&mut self.reads_anywhere, true)
    }

    /// Adds a folder; false if it was there.
    pub(super) fn add(&mut self, folder: BorrowedFd<'_>, is_writable: bool) -> io::Result<bool> {
        let stat = rustix::fs::fstat(folder)?;
        let id = (stat.st_dev, stat.st_ino);
        let is_there = |known: &Folder| known.id == id && (known.is_writable || !is_writable);
        if self.folders.iter().any(is_there) {
            return Ok(false);
        }
        self.folders.push(Folder {
            id,
            folder: Arc::new(folder.try_clone_to_owned()?),
            is_writable,
        });
        Ok(true)
    }

    /// Confines the thread that calls, and those that it starts, for good.
    pub(super) fn enforce(&self) {
        static SAID: Once = Once::new();
        match self.restrict() {
            Ok(RulesetStatus::NotEnforced) => SAID.call_once(|| {
                tracing::info!("this kernel has no Landlock: paths are kept beneath their folder by openat2 alone");
            }),
            Ok(_) => {}
            Err(error) => SAID.call_once(|| {
                tracing::info!(%error, "Landlock cannot be used: paths are kept beneath their folder by openat2 alone");
            }),
        }
    }

    fn restrict(&self) -> Result<RulesetStatus, RulesetError> {
        let writing = AccessFs::from_write(RIGHTS);
        let handled = match self.reads_anywhere {
            true => writing,
            false => AccessFs::from_all(RIGHTS),
        };
        let mut ruleset = Ruleset::default().handle_access(handled)?.create()?;
        // Devices, pipes and sockets are never made.
        let odd =
            AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeFifo | AccessFs::MakeSock;
        for folder in &self.folders {
            let mut rights: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
            if folder.is_writable {
                rights |= writing & !odd;
            }
            ruleset = ruleset.add_rule(PathBeneath::new(&*folder.folder, rights & handled))?;
        }
        Ok(ruleset.restrict_self()?.ruleset)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::{fd::AsFd as _, unix::fs::symlink},
        thread,
    };

    use super::*;

    #[test]
    fn a_confined_thread_reads_and_writes_where_it_may_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["ours", "theirs", "outside"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), name).unwrap();
        }
        symlink(at("outside"), at("ours/link")).unwrap();
        let mut confinement = Confinement::default();
        let mut add = |name: &str, is_writable| {
            let folder = fs::File::open(at(name)).unwrap();
            confinement.add(folder.as_fd(), is_writable).unwrap()
        };
        assert!(add("ours", true));
        assert!(add("theirs", false));
        assert!(!add("ours", false));
        let confined = thread::scope(|scope| {
            let working = scope.spawn(|| {
                let status = confinement.restrict().unwrap();
                if status == RulesetStatus::NotEnforced {
                    return false;
                }
                fs::write(at("ours/new"), "x").unwrap();
                fs::rename(at("ours/new"), at("ours/file")).unwrap();
                fs::create_dir(at("ours/sub")).unwrap();
                fs::rename(at("ours/file"), at("ours/sub/file")).unwrap();
                assert_eq!(fs::read(at("theirs/file")).unwrap(), b"theirs");
                for denied in [
                    fs::write(at("theirs/file"), "x"),
                    fs::write(at("ours/link/file"), "x"),
                    fs::write(at("outside/file"), "x"),
                    fs::read(at("outside/file")).map(drop),
                    fs::remove_file(at("outside/file")),
                    fs::create_dir(at("outside/sub")),
                    fs::rename(at("ours/sub/file"), at("outside/moved")),
                ] {
                    let kind = denied.unwrap_err().kind();
                    assert!(
                        matches!(
                            kind,
                            io::ErrorKind::PermissionDenied | io::ErrorKind::CrossesDevices
                        ),
                        "{kind}"
                    );
                }
                true
            });
            working.join().unwrap()
        });
        // The others are as free as before.
        fs::write(at("outside/file"), "x").unwrap();
        if !confined {
            println!("SKIPPED file threads confined by Landlock: this kernel has none");
        }
    }

    #[test]
    fn a_thread_that_only_reads_does_so_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut confinement = Confinement::default();
                assert!(confinement.add_reading() && !confinement.add_reading());
                let status = confinement.restrict().unwrap();
                assert_eq!(fs::read(&file).unwrap(), b"x");
                let written = fs::write(&file, "y");
                assert_eq!(written.is_ok(), status == RulesetStatus::NotEnforced);
            });
        });
    }
}
