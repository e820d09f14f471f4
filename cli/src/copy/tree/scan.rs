//! Looks through the trees of this machine that are to be sent. What becomes of what it finds is decided in `push`.

use std::{
    collections::HashSet,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rp_transfer::{
    batch::Item,
    error::Error,
    message::{Entry, Kind},
    path::{RemotePath, Root},
    walk::{Walk, WalkOptions, beneath},
};
use tokio::sync::mpsc;

use super::{Tree, delete::Seen, is_folder};
use crate::copy::{filter::Filter, job::file_name, location::printable_path};

/// One thing, or why there is no more to be said of its path.
pub(super) type Found = Result<Item, (Vec<u8>, Error)>;

/// Nobody wants to know more.
pub(super) struct Unwanted;

/// A look through several sources.
pub(super) struct Scan {
    options: WalkOptions,
    recursive: bool,
    filter: Arc<Filter>,
    /// What of the one source is wanted, where that was named.
    names: Option<Arc<Vec<Vec<u8>>>>,
    found: mpsc::Sender<Found>,
    /// What was found, if that is to be known in the end.
    seen: Option<Seen>,
}

impl Scan {
    /// As `tree` is to be copied, into `found`.
    pub(super) fn new(tree: &Tree, found: mpsc::Sender<Found>) -> Self {
        Self {
            options: tree.walk_options(),
            recursive: tree.options.recursive,
            filter: Arc::clone(&tree.filter),
            names: tree.names.clone(),
            found,
            seen: tree.options.delete.then(Seen::default),
        }
    }

    /// Looks through `sources`, each of which is called as its pair says where it is copied to, until nobody wants
    /// to know more. Gives what is there, if that was asked for.
    pub(super) fn run(mut self, sources: Vec<(PathBuf, Vec<u8>)>) -> Option<Seen> {
        for (source, prefix) in sources {
            let scanned = match self.names.clone() {
                Some(names) => self.scan_names(&source, &names),
                None => self.scan_source(&source, &prefix),
            };
            match scanned {
                Ok(Ok(())) => {}
                Ok(Err(Unwanted)) => return None,
                Err(error) => {
                    let path = source.as_os_str().as_bytes().to_vec();
                    self.tell(Err((path, error))).ok()?;
                }
            }
        }
        self.seen
    }

    fn tell(&mut self, found: Found) -> Result<(), Unwanted> {
        if let (Ok(item), Some(seen)) = (&found, &mut self.seen) {
            seen.add(&item.entry);
        }
        self.found.blocking_send(found).map_err(|_| Unwanted)
    }

    /// Finds what is named, beneath the folder `source`.
    fn scan_names(
        &mut self,
        source: &Path,
        names: &[Vec<u8>],
    ) -> Result<Result<(), Unwanted>, Error> {
        let root = Root::open_trusted(source);
        let root = Arc::new(root.map_err(|error| Error::io(printable_path(source), error))?);
        for name in names {
            let told = match RemotePath::parse_named(name) {
                Ok(start) => self.scan_tree(&root, &start, (name, name)),
                Err(error) => self.tell(Err((name.clone(), error))),
            };
            if told.is_err() {
                return Ok(told);
            }
        }
        Ok(Ok(()))
    }

    fn scan_source(&mut self, source: &Path, prefix: &[u8]) -> Result<Result<(), Unwanted>, Error> {
        let failed = |error| Error::io(printable_path(source), error);
        let metadata = source.metadata().map_err(failed)?;
        if !self.filter.wants(prefix, metadata.is_dir()) {
            return Ok(Ok(()));
        }
        if metadata.is_dir() && !self.recursive {
            return Err(is_folder(source.as_os_str().as_bytes()));
        }
        let (folder, start) = match metadata.is_dir() {
            true => (source, RemotePath::parse_named(b"")?),
            false => {
                let folder = source.parent().filter(|path| !path.as_os_str().is_empty());
                let name = RemotePath::parse_named(file_name(source).as_bytes())?;
                (folder.unwrap_or_else(|| Path::new(".")), name)
            }
        };
        if let (true, Some(seen)) = (metadata.is_dir(), &mut self.seen) {
            seen.roots.push(prefix.to_vec());
        }
        let root = Arc::new(Root::open_trusted(folder).map_err(failed)?);
        Ok(self.scan_tree(&root, &start, (prefix, b"")))
    }

    /// Walks from `start`. What is there is called by the first of `names` where it is copied to, and by the second
    /// for the filter.
    fn scan_tree(
        &mut self,
        root: &Arc<Root>,
        start: &RemotePath,
        (prefix, filtered): (&[u8], &[u8]),
    ) -> Result<(), Unwanted> {
        let (filter, above) = (Arc::clone(&self.filter), filtered.to_vec());
        let filter = move |path: &[u8], is_folder| filter.wants(&beneath(&above, path), is_folder);
        let walk = Walk::new(Arc::clone(root), start.clone(), self.options);
        for thing in walk.filter(Box::new(filter)) {
            let item = match thing {
                Ok(entry) => RemotePath::parse_named(&entry.path).map(|path| Item {
                    root: Arc::clone(root),
                    source: match entry.path.is_empty() {
                        true => start.clone(),
                        false => start.join(&path),
                    },
                    entry: Entry {
                        path: beneath(prefix, &entry.path),
                        ..entry
                    },
                }),
                Err((path, error)) => {
                    self.tell(Err((beneath(prefix, &path), error)))?;
                    continue;
                }
            };
            let found = match item {
                // The folder whose content is copied into one that is there.
                Ok(item) if item.entry.path.is_empty() => continue,
                // Named on a list; a source that is a folder was looked at before.
                Ok(item) if item.entry.kind == Kind::Folder && !self.recursive => {
                    let error = is_folder(&item.entry.path);
                    Err((item.entry.path, error))
                }
                item => item.map_err(|error| (prefix.to_vec(), error)),
            };
            self.tell(found)?;
        }
        Ok(())
    }
}

/// The names on a list: on lines, or with a NUL behind each.
pub(in super::super) fn parse_names(list: &[u8]) -> Vec<Vec<u8>> {
    let end = match list.contains(&0) {
        true => 0,
        false => b'\n',
    };
    let mut told = HashSet::new();
    list.split(|&byte| byte == end)
        .map(|name| match end {
            b'\n' => name.strip_suffix(b"\r").unwrap_or(name),
            _ => name,
        })
        .map(|name| {
            let from = name.iter().position(|&byte| byte != b'/');
            name.get(from.unwrap_or(name.len())..)
                .unwrap_or_default()
                .to_vec()
        })
        .filter(|name| !name.is_empty() && told.insert(name.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_on_lines_or_end_with_nul() {
        let names = |list: &[u8]| parse_names(list).concat();
        assert_eq!(parse_names(b"a\n\n/b/c\r\na\nd"), [&b"a"[..], b"b/c", b"d"]);
        assert_eq!(names(b"a b\n"), b"a b");
        assert_eq!(parse_names(b"a\nb\0c\0"), [&b"a\nb"[..], b"c"]);
        assert_eq!(parse_names(b""), Vec::<Vec<u8>>::new());
    }
}
