//! The table of rules for HTTP intermediaries names tests that exist.

use std::{collections::BTreeMap, fs, path::Path};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/http-rules.md");

/// A row of the table: the section, the rule, and the tests or the exception.
fn rows(table: &str) -> Vec<[&str; 3]> {
    table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            <[&str; 3]>::try_from(cells).expect("three cells in each row")
        })
        .filter(|[section, ..]| *section != "Section")
        .collect()
}

/// The names of tests in a cell: whatever stands between backquotes and has a path.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.contains("::"))
}

/// The source in which the test with this path stands.
fn source(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules: Vec<&str> = path.split("::").collect();
    let candidates = match modules.as_slice() {
        [file] => vec![root.join("tests").join(file).with_extension("rs")],
        [inner @ .., last] => {
            let folder = inner
                .iter()
                .fold(root.join("src"), |path, name| path.join(name));
            // A module of tests is a file, or stands in its parent.
            vec![
                folder.join(last).with_extension("rs"),
                folder.with_extension("rs"),
            ]
        }
        [] => Vec::new(),
    };
    let found = candidates
        .iter()
        .find_map(|path| fs::read_to_string(path).ok());
    // An empty source has no test, and the check below names it.
    found.unwrap_or_default()
}

/// Whether `source` has the test `name`, with an attribute that has it run.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line
            .strip_prefix("fn ")
            .and_then(|line| line.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('('))
    });
    at.is_some_and(|at| {
        let mut above = lines[..at].iter().rev().take_while(|line| !line.is_empty());
        above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_rule_has_tests_that_exist_or_a_reason() {
    let table = fs::read_to_string(TABLE).unwrap();
    let rows = rows(&table);
    assert!(rows.len() > 100, "{} rows", rows.len());
    let mut sources = BTreeMap::new();
    for [section, rule, cell] in rows {
        let is_exception = cell.starts_with("Exception: ") && cell.len() > 40;
        assert!(
            is_exception || names(cell).next().is_some(),
            "{section} {rule}"
        );
        for name in names(cell) {
            let (path, test) = name.rsplit_once("::").unwrap();
            let source = sources.entry(path).or_insert_with(|| source(path));
            assert!(has_test(source, test), "{section} {rule}: no test {name}");
        }
    }
}

#[test]
fn a_function_without_its_attribute_is_no_test() {
    let source =
        "#[test]\nfn a_test() {}\n\nfn helper() {}\n\n#[tokio::test]\nasync fn another() {}\n";
    assert!(has_test(source, "a_test") && has_test(source, "another"));
    assert!(!has_test(source, "helper") && !has_test(source, "a_tes") && !has_test(source, "none"));
}
