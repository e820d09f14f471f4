//! Tests of names and ownership; making namespaces needs root and is tested with the emulator.

use super::*;

#[test]
fn a_name_gives_its_owner_and_foreign_names_do_not() {
    assert_eq!(owner("rplab-12-345-left"), Some((12, 345)));
    assert_eq!(owner("rplab-12"), None);
    assert_eq!(owner("rplabx-12-345-left"), None);
    assert_eq!(owner("other-12-345-left"), None);
}

#[test]
fn only_namespaces_of_ended_processes_are_leftovers() {
    let process = std::process::id();
    let started = start_time(process).unwrap();
    assert!(!is_leftover(&format!("rplab-{process}-{started}-a")));
    // Same number, another process: it began at another time.
    assert!(is_leftover(&format!("rplab-{process}-{}-a", started + 1)));
    assert!(!is_leftover("somebody-elses"));
}
