//! A journal says what was written to it, and nothing that was torn.

use super::*;

const VERSION: Version = [7; 16];

fn groups(count: u64) -> Groups {
    (0..count)
        .map(|index| (index * 2, [u8::try_from(index).unwrap(); 32]))
        .collect()
}

fn folder() -> (tempfile::TempDir, Arc<OwnedFd>) {
    let folder = tempfile::tempdir().unwrap();
    let opened = File::open(folder.path()).unwrap();
    (folder, Arc::new(opened.into()))
}

#[test]
fn what_is_missing_is_all_between_the_groups_that_are_there() {
    let known = |indices: &[u64], size| Known {
        size,
        version: VERSION,
        groups: indices.iter().map(|&index| (index, [0; 32])).collect(),
    };
    let size = 5 * GROUP + 3;
    assert_eq!(known(&[], size).missing(), [(0, size)]);
    assert_eq!(
        known(&[3, 0, 1, 3], size).missing(),
        [(2 * GROUP, GROUP), (4 * GROUP, GROUP + 3)]
    );
    assert_eq!(known(&[0, 1, 2, 3, 4], size).missing(), [(5 * GROUP, 3)]);
    assert_eq!(known(&[0, 1, 2, 3, 4, 5], size).missing(), []);
    assert_eq!(known(&[0], GROUP).missing(), []);
}

#[test]
fn a_journal_cut_anywhere_says_what_was_whole_and_goes_on_from_there() {
    let (dir, opened) = folder();
    let name = OsStr::new("journal");
    let size = 100 * GROUP;
    let journal = || Journal::new(Arc::clone(&opened), name.into(), size, VERSION);
    journal().append(&groups(3)).unwrap();
    let path = dir.path().join(name);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let kept = length.checked_sub(HEADER).map(|rest| rest / RECORD);
        let known = Journal::load(&opened, name);
        assert_eq!(known.map(|known| known.groups.len()), kept, "{length}");
        journal().append(&vec![(90, [9; 32])]).unwrap();
        let known = Journal::load(&opened, name).unwrap();
        assert_eq!(known.groups.len(), kept.unwrap_or(0) + 1, "{length}");
        assert_eq!(known.groups.last(), Some(&(90, [9; 32])));
    }
}

#[test]
fn a_bit_that_turned_ends_what_is_believed() {
    let (dir, opened) = folder();
    let name = OsStr::new("journal");
    let mut journal = Journal::new(Arc::clone(&opened), name.into(), 100 * GROUP, VERSION);
    journal.append(&groups(3)).unwrap();
    let path = dir.path().join(name);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut turned = whole.clone();
        turned[at] ^= 0x10;
        std::fs::write(&path, turned).unwrap();
        let found = Journal::load(&opened, name).map(|known| known.groups.len());
        let believed = at.checked_sub(HEADER).map(|rest| rest / RECORD);
        assert_eq!(found, believed, "{at}");
    }
}

#[test]
fn another_content_begins_anew() {
    let (_dir, opened) = folder();
    let name = OsStr::new("journal");
    let size = 100 * GROUP;
    let mut first = Journal::new(Arc::clone(&opened), name.into(), size, VERSION);
    first.append(&groups(5)).unwrap();
    let mut second = Journal::new(Arc::clone(&opened), name.into(), size, [8; 16]);
    second.append(&groups(1)).unwrap();
    let known = Journal::load(&opened, name).unwrap();
    assert_eq!((known.version, known.groups), ([8; 16], groups(1)));
}
