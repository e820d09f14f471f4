//! `--delete`: what stands in a copied folder and not in its source goes, once everything was copied.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use rp_transfer::{
    error::Error,
    message::{Depth, Entry, Kind, List, Message, RemoveBatch, Status},
    path::{RemotePath, Root, printable_path},
    walk::{Links, Walk, WalkOptions, beneath},
};

use super::{super::CopyError, Tree};

/// What the sources have, by where it is copied to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Folders that were copied, and in which things may be removed.
    pub(super) roots: Vec<Vec<u8>>,
    paths: HashSet<Vec<u8>>,
    /// Folders that were not looked into, so that nothing is known of what is in them.
    unknown: HashSet<Vec<u8>>,
}

impl Seen {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.paths.insert(entry.path.clone());
        if entry.is_mount {
            self.unknown.insert(entry.path.clone());
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.roots.extend(other.roots);
        self.paths.extend(other.paths);
        self.unknown.extend(other.unknown);
    }

    /// Whether `path` is in a folder that was not looked into.
    fn is_unknown(&self, path: &[u8]) -> bool {
        !self.unknown.is_empty() && folders_of(path).any(|folder| self.unknown.contains(folder))
    }
}

/// The folders that a path is in, the nearest last.
fn folders_of(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &path[..at])
}

/// What is to be removed beneath one folder that was copied.
#[derive(Debug, Default)]
struct Extraneous {
    paths: BTreeSet<Vec<u8>>,
    /// Folders that something stays in.
    kept: HashSet<Vec<u8>>,
}

impl Extraneous {
    fn add(&mut self, path: Vec<u8>, is_wanted: bool) {
        if !is_wanted {
            self.paths.insert(path);
            return;
        }
        for folder in folders_of(&path) {
            if !self.kept.contains(folder) {
                self.kept.insert(folder.to_vec());
            }
        }
    }

    /// What is in a folder before the folder.
    fn into_paths(self) -> Vec<Vec<u8>> {
        let kept = self.kept;
        let paths = self.paths.into_iter().rev();
        paths.filter(|path| !kept.contains(path)).collect()
    }
}

impl Tree {
    /// Whether things may be removed: all was copied. Says so if not.
    fn may_delete(&self) -> bool {
        let may = self.report.failures() == 0;
        if !may {
            let note = "nothing was deleted, because not everything could be copied";
            self.report.note(note.to_owned());
        }
        may
    }

    /// Whether what stands at `path` beneath the copied folder `root` stays.
    fn stays(&self, seen: &Seen, root: &[u8], path: &[u8], is_folder: bool) -> bool {
        let whole = beneath(root, path);
        seen.paths.contains(&whole)
            || seen.is_unknown(&whole)
            || !self.filter.wants(path, is_folder)
    }

    /// Removes at the server, beneath `base`, what the sources do not have.
    pub(super) async fn delete_remote(&self, base: &[u8], seen: &Seen) -> Result<(), CopyError> {
        for root in &seen.roots {
            if !self.may_delete() {
                break;
            }
            let at = beneath(base, root);
            let Some(extraneous) = self.extraneous_at(&at, root, seen).await? else {
                continue;
            };
            let paths = self.announce_deletions(root, extraneous.into_paths());
            for paths in paths.chunks(rp_transfer::batch::MAX_ENTRIES) {
                self.remove_batch(&at, root, paths).await?;
            }
        }
        Ok(())
    }

    /// What the server has at `at` and should not; nothing if there is no such folder.
    async fn extraneous_at(
        &self,
        at: &[u8],
        root: &[u8],
        seen: &Seen,
    ) -> Result<Option<Extraneous>, CopyError> {
        let list = Message::List(List {
            path: at.to_vec(),
            depth: Depth::All,
            one_file_system: true,
            ..List::default()
        });
        let mut extraneous = Extraneous::default();
        let mut answers = self.requests.ask(&[list]).await?;
        while let Some(entry) = answers.next().await? {
            match entry.failure {
                // In a dry run it may not be there yet.
                Some(why) if entry.path.is_empty() && why.status == Status::NotFound => {
                    return Ok(None);
                }
                Some(why) => self.report.fail(beneath(at, &entry.path), why),
                None if entry.path.is_empty() => {}
                None => {
                    let is_folder = entry.kind == Kind::Folder;
                    let stays = entry.is_mount || self.stays(seen, root, &entry.path, is_folder);
                    extraneous.add(entry.path, stays);
                }
            }
        }
        Ok(self.may_delete().then_some(extraneous))
    }

    /// Says what is to be removed; gives nothing back in a dry run.
    fn announce_deletions(&self, root: &[u8], paths: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        if !self.options.dry_run {
            return paths;
        }
        for path in paths {
            self.voice.plan(true, &beneath(root, &path));
        }
        Vec::new()
    }

    async fn remove_batch(
        &self,
        at: &[u8],
        root: &[u8],
        paths: &[Vec<u8>],
    ) -> Result<(), CopyError> {
        let count = u32::try_from(paths.len()).unwrap_or(u32::MAX);
        let path = at.to_vec();
        let mut messages = vec![Message::RemoveBatch(RemoveBatch { path, count })];
        messages.extend(paths.iter().map(|path| {
            Message::Entry(Entry {
                path: path.clone(),
                ..Entry::default()
            })
        }));
        let mut answers = self.requests.ask(&messages).await?;
        while let Some(entry) = answers.next().await? {
            let why = entry
                .failure
                .unwrap_or_else(|| Error::Interrupted.to_done());
            self.on_not_removed(beneath(root, &entry.path), why);
        }
        Ok(())
    }

    /// Removes in this machine's folder `folder` what the sources do not have.
    pub(super) async fn delete_local(
        self: &Arc<Self>,
        folder: &Arc<Root>,
        seen: Seen,
    ) -> Result<(), CopyError> {
        let (tree, folder) = (Arc::clone(self), Arc::clone(folder));
        let deleting = self.requests.worker.run(move || {
            seen.roots
                .iter()
                .try_for_each(|root| tree.delete_beneath(&folder, root, &seen))
        });
        let deleted = deleting.await;
        Ok(deleted.map_err(|error| Error::io("removing files", error))??)
    }

    fn delete_beneath(&self, folder: &Root, root: &[u8], seen: &Seen) -> Result<(), Error> {
        let within = match folder.within(&RemotePath::parse_named(root)?) {
            Ok(within) => Arc::new(within),
            Err(error) if error.status() == Status::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let options = WalkOptions {
            depth: Depth::All,
            links: Links::Keep,
            one_file_system: true,
            xattrs: None,
        };
        let mut extraneous = Extraneous::default();
        let start = RemotePath::parse_named(b"")?;
        for thing in Walk::new(Arc::clone(&within), start, options) {
            match thing {
                Ok(entry) if entry.path.is_empty() => {}
                Ok(entry) => {
                    let is_folder = entry.kind == Kind::Folder;
                    let stays = entry.is_mount || self.stays(seen, root, &entry.path, is_folder);
                    extraneous.add(entry.path, stays);
                }
                Err((path, error)) => self.report.fail(beneath(root, &path), error.to_done()),
            }
        }
        if !self.may_delete() {
            return Ok(());
        }
        for path in self.announce_deletions(root, extraneous.into_paths()) {
            if let Err(error) = within.remove_entry(&RemotePath::parse_named(&path)?) {
                self.on_not_removed(beneath(root, &path), error.to_done());
            }
        }
        Ok(())
    }

    fn on_not_removed(&self, path: Vec<u8>, why: rp_transfer::message::Done) {
        match why.status {
            Status::NotFound => {}
            // It holds the partial file of a copy that may go on.
            Status::NotAFile => {
                let shown = printable_path(&path);
                self.report.note(format!(
                    "{shown}: stays, because an unfinished copy is in it"
                ));
            }
            _ => self.report.fail(path, why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_folder_goes_before_it_and_a_folder_that_something_stays_in_stays() {
        let mut extraneous = Extraneous::default();
        for (path, is_wanted) in [
            ("a", false),
            ("a/b", false),
            ("a/b/c", false),
            ("d", false),
            ("d/e", false),
            ("d/e/f", true),
            ("d/g", false),
        ] {
            extraneous.add(path.as_bytes().to_vec(), is_wanted);
        }
        assert_eq!(
            extraneous.into_paths(),
            [&b"d/g"[..], b"a/b/c", b"a/b", b"a"]
        );
    }
}
