//! Tests of the records' file.

use super::*;

fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::Complete,
        Outcome::CutOff,
        Outcome::Failed {
            reason: "no\nroute".to_owned(),
        },
    ]
}

#[test]
fn records_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/outcomes.jsonl");
    for outcome in outcomes() {
        Journal::open(&path).unwrap().append(&outcome).unwrap();
    }
    assert_eq!(read::<Outcome>(&path).unwrap(), outcomes());
}

#[test]
fn half_a_line_of_a_killed_run_is_no_record_and_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outcomes.jsonl");
    fs::write(&path, "{\"end\":\"complete\"}\n{\"end\":\"cut").unwrap();
    assert_eq!(read::<Outcome>(&path).unwrap(), [Outcome::Complete]);
    let mut journal = Journal::open(&path).unwrap();
    journal.append(&Outcome::CutOff).unwrap();
    assert_eq!(
        read::<Outcome>(&path).unwrap(),
        [Outcome::Complete, Outcome::CutOff]
    );
}

#[test]
fn a_line_that_is_no_record_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outcomes.jsonl");
    fs::write(&path, "{\"end\":\"complete\"}\n{\"end\":\"well\"}\n").unwrap();
    let error = read::<Outcome>(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("outcomes.jsonl:2: no such record"),
        "{error}"
    );
}

#[test]
fn no_file_means_no_records() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        read::<Outcome>(&folder.path().join("none"))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn circumstances_name_the_kernel() {
    assert!(!Circumstances::now().kernel.is_empty());
    assert_eq!(
        cpu_name("flags\t: a\nmodel name\t: A CPU @ 2 GHz\n"),
        "A CPU @ 2 GHz"
    );
}

#[test]
fn a_command_is_kept_without_places_of_this_machine() {
    let typed = "run --grid short --out a.jsonl --resume --programs=b --seconds 4";
    let kept = repeatable(typed.split(' ').map(str::to_owned));
    assert_eq!(kept, "run --grid short --seconds 4");
}
