//! Every flag has a test, and the table of them in `cli/docs/rpcp.md` says which.

use std::{collections::BTreeSet, fs, path::Path};

use clap::CommandFactory as _;
use rp_cli::args::copy::CopyArgs;

use crate::world::{World, content, stderr};

/// Rows of the tables whose first column is code: that, and the test in the last column.
fn rows(text: &str) -> Vec<(String, String)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    text.lines()
        .filter(|line| line.starts_with('|') && line.contains("::"))
        .map(cells)
        .map(|cells| (cells[0].clone(), cells[cells.len() - 1].clone()))
        .collect()
}

#[test]
fn the_table_names_every_flag_and_tests_that_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(folder.join("docs/rpcp.md")).unwrap();
    let rows = rows(&text);
    let flags: BTreeSet<_> = rows
        .iter()
        .map(|row| row.0.clone())
        .filter(|flag| flag.starts_with('-'))
        .collect();
    let command = CopyArgs::command();
    let known: BTreeSet<_> = command
        .get_arguments()
        .filter_map(
            |argument| match (argument.get_long(), argument.get_short()) {
                (Some("help" | "version"), _) => None,
                (Some(long), _) => Some(format!("--{long}")),
                (None, short) => short.map(|short| format!("-{short}")),
            },
        )
        .collect();
    assert_eq!(flags, known);
    for (row, test) in rows {
        let (file, name) = test.rsplit_once("::").unwrap();
        let file = match file.contains('/') {
            true => folder.parent().unwrap().join(format!("{file}.rs")),
            false => folder.join("tests/copy").join(format!("{file}.rs")),
        };
        let code = fs::read_to_string(&file).expect(&row);
        assert!(code.contains(&format!("fn {name}()")), "{row}: no {test}");
    }
}

#[test]
fn quiet_and_verbose_are_taken() {
    let world = World::new();
    fs::write(world.here("file"), content(10)).unwrap();
    let quiet = world.run(0, &["-q", "file", &world.url("")]);
    assert_eq!(stderr(&quiet), "");
    world.run(0, &["-vv", "file", &world.url("")]);
}

#[test]
fn each_policy_copies() {
    let world = World::new();
    fs::write(world.here("file"), content(100_000)).unwrap();
    for args in [
        &["--policy", "fair"][..],
        &["--policy", "low"],
        &["--policy", "fixed", "--rate", "100M"],
    ] {
        world.run(0, &[args, &["file", &world.url("")]].concat());
        assert_eq!(fs::read(world.root("file")).unwrap(), content(100_000));
        fs::remove_file(world.root("file")).unwrap();
    }
    world.run(2, &["--policy", "fixed", "file", &world.url("")]);
}

#[test]
fn addresses_of_the_other_family_are_not_used() {
    let world = World::new();
    fs::write(world.here("file"), content(10)).unwrap();
    world.run(0, &["-4", "file", &world.url("")]);
    world.run(3, &["-6", "file", &world.url("")]);
    world.run(2, &["-4", "-6", "file", &world.url("")]);
}

#[test]
fn a_list_of_known_hosts_can_be_named() {
    let world = World::new();
    fs::write(world.here("file"), content(10)).unwrap();
    // A key that was revoked there counts more than the one on the command line.
    let line = format!("@revoked * {}\n", world.host_key);
    fs::write(world.here("known"), line).unwrap();
    let args = ["--known-hosts", "known", "file", &world.url("")];
    let output = world.run(3, &args);
    assert!(stderr(&output).contains("revoked"), "{}", stderr(&output));
}
