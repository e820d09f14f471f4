//! Tests of the table's text and of what it calls right.

use std::path::Path;

use super::*;

fn table() -> Table {
    let text = "about = 'x'\n[link]\nrate = '100Mbit'\ndelay = '50ms'\nloss = '1%'\n";
    let scenario = Scenario::parse(Path::new("x.toml"), text).unwrap();
    Table::new(&scenario)
}

#[test]
fn the_table_gives_goodput_and_its_share_of_the_limit() {
    let mut table = table();
    table.rows.push(Row {
        name: "rpcp, one file".to_owned(),
        outcome: Outcome::measured(100_000_000, Duration::from_secs(10), true),
    });
    table.rows.push(Row {
        name: "plain TCP".to_owned(),
        outcome: Outcome::NotMeasured("needs root".to_owned()),
    });
    insta::assert_snapshot!(table.to_string());
    assert!(table.is_right());
}

#[test]
fn one_wrong_digest_makes_the_whole_wrong() {
    let mut table = table();
    table.rows.push(Row {
        name: "rpcp".to_owned(),
        outcome: Outcome::measured(1, Duration::from_secs(1), false),
    });
    assert!(!table.is_right());
    assert!(table.to_string().contains("WRONG"));
}
