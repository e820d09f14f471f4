//! What stays in the file, and what a damaged one does.

use std::{os::unix::fs::PermissionsExt as _, thread};

use super::*;

const NOW: u64 = 1_800_000_000;

fn memory(rate: u64) -> PathMemory {
    PathMemory {
        rate: Bandwidth::from_bytes_per_second(rate),
        min_rtt: Duration::from_millis(20),
        age: Duration::ZERO,
    }
}

fn server(name: &str) -> Server {
    name.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn file() -> (tempfile::TempDir, PathFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = PathFile::at(folder.path().join("rapidpath/paths.toml"));
    (folder, file)
}

#[test]
fn a_path_is_one_server_at_one_address() {
    let (_folder, file) = file();
    let (a, b) = (address("192.0.2.1"), address("2001:db8::1"));
    assert_eq!(file.find(&server("x"), a, NOW), None);
    file.insert(&server("x"), a, &memory(1000), NOW).unwrap();
    file.insert(&server("y:99"), a, &memory(2000), NOW + 1)
        .unwrap();
    file.insert(&server("x"), b, &memory(3000), NOW + 2)
        .unwrap();
    file.insert(&server("x"), a, &memory(4000), NOW + 3)
        .unwrap();
    let find = |name, at| file.find(&server(name), at, NOW + 10).unwrap();
    let aged = |rate, age| PathMemory {
        age: Duration::from_secs(age),
        ..memory(rate)
    };
    assert_eq!(find("x", a), aged(4000, 7));
    assert_eq!(find("x", address("::ffff:192.0.2.1")), aged(4000, 7));
    assert_eq!(find("y:99", a), aged(2000, 9));
    assert_eq!(find("x", b), aged(3000, 8));
    assert_eq!(file.find(&server("y"), a, NOW), None);
    let mode = fs::metadata(&file.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(file.path.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn entries_go_after_a_day_and_when_there_are_too_many() {
    let (_folder, file) = file();
    let at = address("192.0.2.1");
    for n in 0..MOST_PATHS as u64 + 5 {
        let name = server(&format!("host{n}"));
        file.insert(&name, at, &memory(n + 1), NOW + n).unwrap();
    }
    assert_eq!(file.read(NOW + 1000).len(), MOST_PATHS);
    assert_eq!(file.find(&server("host4"), at, NOW + 1000), None);
    assert!(file.find(&server("host5"), at, NOW + 1000).is_some());
    assert!(file.find(&server("host5"), at, NOW + 5 + OLDEST).is_some());
    assert_eq!(file.find(&server("host5"), at, NOW + 6 + OLDEST), None);
    // Written by a clock that went wrong.
    assert_eq!(file.find(&server("host5"), at, NOW), None);
}

#[test]
fn a_damaged_or_foreign_file_is_ignored_and_replaced() {
    for text in [
        "garbage [[",
        "[[path]]\nserver = 'x'\n",
        "[[path]]\nserver = 'x'\naddress = '192.0.2.1'\nbytes-per-second = -1\nmin-rtt-us = 1\nlearnt-at = 1\n",
        "\u{0}\u{1}",
        "path = 3",
    ] {
        let (_folder, file) = file();
        dirs::make_parent(&file.path).unwrap();
        fs::write(&file.path, text).unwrap();
        let at = address("192.0.2.1");
        assert_eq!(file.find(&server("x"), at, NOW), None, "{text}");
        file.insert(&server("x"), at, &memory(5), NOW).unwrap();
        assert!(file.find(&server("x"), at, NOW).is_some(), "{text}");
    }
    let (_folder, file) = file();
    let at = address("192.0.2.1");
    file.insert(&server("x"), at, &memory(5), NOW).unwrap();
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(file.find(&server("x"), at, NOW), None);
}

#[test]
fn many_writers_at_once_leave_a_whole_file() {
    let (_folder, file) = file();
    let at = address("192.0.2.1");
    thread::scope(|scope| {
        for n in 0..8 {
            let file = &file;
            scope.spawn(move || {
                for round in 0..20 {
                    let name = server(&format!("host{n}"));
                    file.insert(&name, at, &memory(round + 1), NOW).unwrap();
                    assert!(file.parse().is_ok());
                }
            });
        }
    });
    assert!(!file.read(NOW).is_empty());
    let names = fs::read_dir(file.path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 1);
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_for_the_log_only() {
    let (folder, file) = file();
    fs::write(folder.path().join("rapidpath"), "in the way").unwrap();
    let at = address("192.0.2.1");
    assert_eq!(file.find(&server("x"), at, NOW), None);
    assert!(file.insert(&server("x"), at, &memory(5), NOW).is_err());
}

#[test]
fn a_server_forgets_the_client_it_heard_of_longest_ago() {
    let known = KnownClients::default();
    let now = Instant::now();
    let key = crate::identity::ephemeral().public_key();
    let client = |n: usize| {
        let [.., high, low] = n.to_be_bytes();
        (key, IpAddr::from([192, 0, high, low]))
    };
    for n in 0..MOST_CLIENTS {
        known.insert(client(n), memory(7), now);
    }
    known.insert(client(0), memory(8), now);
    known.insert(client(MOST_CLIENTS), memory(9), now);
    let later = now + Duration::from_secs(5);
    assert_eq!(known.find(client(1), later), None);
    let found = known.find(client(0), later).unwrap();
    assert_eq!(
        (found.rate, found.age),
        (memory(8).rate, Duration::from_secs(5))
    );
    let other = (crate::identity::ephemeral().public_key(), client(0).1);
    assert_eq!(known.find(other, later), None);
}
