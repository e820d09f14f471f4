//! What was written down comes back, up to what is torn.

use super::*;

fn owner() -> Owner {
    Owner {
        copy: [7; 16],
        boot: [0; 16],
    }
}

fn finished(number: u8) -> Finished {
    Finished {
        path: vec![b'a', number],
        version: [number; 16],
        digest: [number; 32],
        identity: Identity {
            inode: number.into(),
            size: 4096,
            modified: Modified {
                seconds: -1,
                nanos: 5,
            },
        },
    }
}

fn written(count: u8) -> Vec<u8> {
    let mut bytes = owner().header();
    (0..count).for_each(|number| owner().append_record(&finished(number), &mut bytes));
    bytes
}

fn read(bytes: &[u8], owner: Owner) -> Vec<Finished> {
    Records::new(bytes, &[owner]).collect()
}

#[test]
fn records_come_back_up_to_the_first_that_is_torn_or_damaged() {
    let bytes = written(3);
    let all: Vec<_> = (0..3).map(finished).collect();
    assert_eq!(read(&bytes, owner()), all);
    let record = FIXED + 2;
    for end in HEADER..bytes.len() {
        let whole = (end - HEADER) / record;
        assert_eq!(read(&bytes[..end], owner()), all[..whole], "{end}");
    }
    for damaged in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[damaged] ^= 0x40;
        let whole = damaged.checked_sub(HEADER).map_or(0, |at| at / record);
        assert_eq!(read(&bytes, owner()), all[..whole], "{damaged}");
    }
}

#[test]
fn a_journal_of_another_copy_or_another_life_of_the_system_says_nothing() {
    let bytes = written(3);
    for other in [
        Owner {
            copy: [8; 16],
            ..owner()
        },
        Owner {
            boot: [1; 16],
            ..owner()
        },
    ] {
        assert_eq!(read(&bytes, other), []);
    }
}

#[test]
fn a_journal_is_gone_on_with_behind_its_last_whole_record() {
    let folder = tempfile::tempdir().unwrap();
    let open = || OwnedFd::from(File::open(folder.path()).unwrap());
    let mut journal = TreeJournal::open(&open(), owner()).unwrap();
    journal.append(&[finished(0), finished(1)]).unwrap();
    // A second writer has to do without.
    TreeJournal::open(&open(), owner()).unwrap_err();
    drop(journal);
    let name = copy_journal_name(&owner().copy);
    let file = File::options()
        .append(true)
        .open(folder.path().join(&name))
        .unwrap();
    (&file).write_all(&[0, 200, 3]).unwrap();
    let mut journal = TreeJournal::open(&open(), owner()).unwrap();
    journal.append(&[finished(2)]).unwrap();
    let found: Vec<_> = TreeJournal::load(&open(), &[owner()]).collect();
    assert_eq!(found, (0..3).map(finished).collect::<Vec<_>>());
    TreeJournal::remove(&open(), &owner().copy);
    assert_eq!(TreeJournal::load(&open(), &[owner()]).count(), 0);
}
