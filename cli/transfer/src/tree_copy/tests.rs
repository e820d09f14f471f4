//! What a copy finished is told of, as long as it is what it was.

use std::fs;

use rustix::fs::{AtFlags, CWD};
use tempfile::TempDir;

use super::*;
use crate::{
    message::{self, Message, Modified},
    session::{Half, Output},
    simple::Telling,
};

const COPY: CopyId = [3; 16];

struct Folder {
    folder: TempDir,
    root: Arc<Root>,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Arc::new(Root::open(folder.path()).unwrap());
        Self { folder, root }
    }

    fn copy(&self, durability: Durability) -> Arc<TreeCopy> {
        let base = RemotePath::parse(b"tree").unwrap();
        TreeCopy::new(Arc::clone(&self.root), base, COPY, durability)
    }

    /// Writes a file and says that it is finished.
    fn finish(&self, copy: &TreeCopy, name: &str) {
        let path = self.folder.path().join("tree").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        let stat = rustix::fs::statat(CWD, &path, AtFlags::empty()).unwrap();
        copy.note(&[Finished {
            path: name.as_bytes().to_vec(),
            version: [1; 16],
            digest: *blake3::hash(name.as_bytes()).as_bytes(),
            identity: Identity::of(&stat),
        }]);
    }

    fn there(&self, verify: bool) -> Vec<Mark> {
        self.copy(Durability::Batch).there(verify).collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("tree")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn files_count_as_long_as_they_are_what_they_were() {
    //= spec/20-copy.md#trees
    //= type=test
    //# A receiver MUST NOT count a file that is not what it was when it took its name.
    let folder = Folder::new();
    let copy = folder.copy(Durability::Batch);
    for name in ["a", "b", "c", "d"] {
        folder.finish(&copy, name);
    }
    let marks: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| mark(&[1; 16], name.as_bytes()))
        .to_vec();
    assert_eq!(folder.there(false), marks);
    let tree = folder.folder.path().join("tree");
    fs::remove_file(tree.join("a")).unwrap();
    fs::write(tree.join("b"), "longer than it was").unwrap();
    // The same bytes in another file.
    fs::write(tree.join("e"), "c").unwrap();
    fs::rename(tree.join("e"), tree.join("c")).unwrap();
    assert_eq!(folder.there(false), marks[3..]);
}

#[test]
fn verifying_reads_what_is_there() {
    let folder = Folder::new();
    let copy = folder.copy(Durability::Batch);
    folder.finish(&copy, "a");
    let path = folder.folder.path().join("tree/a");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "b").unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    assert_eq!(folder.there(false).len(), 1);
    assert!(folder.there(true).is_empty());
}

#[test]
fn what_was_not_made_durable_is_not_believed_after_another_start_of_the_system() {
    //= spec/20-copy.md#trees
    //= type=test
    //# What was not made durable MUST NOT be believed after the system was started anew.
    let folder = Folder::new();
    let copy = folder.copy(Durability::None);
    folder.finish(&copy, "a");
    assert_eq!(folder.there(false).len(), 1);
    drop(copy);
    fs::remove_dir_all(folder.folder.path().join("tree")).unwrap();
    let mut other = Arc::into_inner(folder.copy(Durability::None)).unwrap();
    other.owner.boot = [9; 16];
    folder.finish(&other, "a");
    assert!(folder.there(false).is_empty());
}

#[test]
fn the_last_request_ends_the_copy_whichever_it_is() {
    //= spec/20-copy.md#trees
    //= type=test
    //# A server that has got *last* MUST set what folders were given, and forget the copy, when the requests before it
    //# went well.
    let folder = Folder::new();
    let copy = folder.copy(Durability::Batch);
    copy.begin();
    assert!(copy.there(false).is_begun());
    let member = || Member::new(Arc::clone(&copy));
    let (first, second, last) = (member(), member(), member());
    folder.finish(&copy, "a");
    let report = Report::default();
    let modified = Modified {
        seconds: 1_000_000_000,
        nanos: 0,
    };
    let attributes = Attributes {
        modified: Some(modified),
        ..Attributes::default()
    };
    let ending = Ending {
        after: 2,
        folders: vec![(
            RemotePath::parse(b"tree").unwrap(),
            attributes,
            Xattrs::default(),
        )],
        privilege: Privilege::Guest,
        is_durable: true,
    };
    first.over(None, &report);
    last.over(Some(ending), &report);
    // One that was cut off: there is something to go on with.
    drop(member());
    assert_eq!(folder.names().len(), 2);
    assert!(copy.there(false).is_begun());
    second.over(None, &report);
    assert_eq!(folder.names(), ["a"]);
    assert!(!copy.there(false).is_begun());
    let stat = rustix::fs::statat(CWD, folder.folder.path().join("tree"), AtFlags::empty());
    assert_eq!(stat.unwrap().st_mtime, modified.seconds);
}

#[test]
fn a_copy_that_was_begun_is_told_of_even_if_nothing_is_finished() {
    //= spec/20-copy.md#trees
    //= type=test
    //# A server MUST answer with There, be it without marks, when the copy was begun and is not over.
    let folder = Folder::new();
    let said = || {
        let mut telling = Telling::new(Ok(folder.copy(Durability::Batch).there(false)));
        let mut said = Vec::new();
        while let Output::Message(message) = telling.poll() {
            said.push(message);
        }
        said
    };
    let there = |marks| Message::There(message::There { marks });
    assert!(matches!(said()[..], [Message::Done(_)]));
    let copy = folder.copy(Durability::Batch);
    copy.begin();
    assert_eq!(said()[..1], [there(vec![])]);
    folder.finish(&copy, "a");
    let marks = vec![mark(&[1; 16], b"a")];
    assert_eq!(said()[..2], [there(vec![]), there(marks)]);
    copy.forget();
    assert!(matches!(said()[..], [Message::Done(_)]));
}
