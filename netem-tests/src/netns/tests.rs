//! Tests of names and ownership; making namespaces needs root and is tested with the emulator.

use super::*;

#[test]
fn a_name_gives_its_owner_and_foreign_names_do_not() {
    assert_eq!(owner("rplab-12-345-0-left"), "12-345".parse().ok());
    assert_eq!(owner("rplab-12-345-left"), "12-345".parse().ok());
    assert_eq!(owner("rplab-12-345"), None);
    assert_eq!(owner("rplabx-12-345-left"), None);
    assert_eq!(owner("other-12-345-left"), None);
}

#[test]
fn only_namespaces_of_ended_processes_are_leftovers() {
    let own = ProcessId::own().unwrap();
    assert!(!is_leftover(&format!("rplab-{own}-a")));
    // Same number, another process: it began at another time.
    assert!(is_leftover(&format!("rplab-{own}9-a")));
    assert!(!is_leftover("somebody-elses"));
}
