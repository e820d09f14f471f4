//! Tests of plans, estimates and grid files. Measuring itself is tested over a real link in `tests/`.

use std::path::Path;

use super::*;

#[test]
fn every_rival_runs_once_before_any_runs_again_and_the_first_one_changes() {
    let runs = plan(2, 3, 2);
    assert_eq!(runs.len(), 12);
    let order: Vec<usize> = runs.iter().map(|run| run.implementation).collect();
    assert_eq!(order, [0, 1, 2, 1, 2, 0, 0, 1, 2, 1, 2, 0]);
    assert!(runs[..6].iter().all(|run| run.scenario == 0));
    assert!(runs[..3].iter().all(|run| run.repetition == 0));
}

#[test]
fn the_short_grid_fits_into_a_quarter_of_an_hour() {
    let grid = Grid::load("short").unwrap();
    let runs = plan(grid.scenarios.len(), grid.peers.len(), 3).len();
    assert_eq!(runs, 126);
    let (least, most) = estimate(runs, 4.0, Duration::from_secs(6));
    assert!(least < most && most < Duration::from_secs(900), "{most:?}");
}

#[test]
fn every_grid_of_the_crate_names_implementations_and_links_that_are_there() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("grids")).unwrap() {
        let path = entry.unwrap().path();
        let grid = Grid::load(&path.to_string_lossy()).unwrap();
        for peer in &grid.peers {
            assert!(
                implementation::find(peer).is_some(),
                "{}: {peer}",
                path.display()
            );
        }
        for scenario in &grid.scenarios {
            assert!(bytes_of(scenario, 4.0).is_some(), "{}", scenario.name);
        }
    }
}

#[test]
fn a_product_makes_every_combination_a_link() {
    let text = "about = \"x\"\npeers = [\"rpcp\"]\n[product]\nrate = [\"10Mbit\", \"20Mbit\"]\n\
                round-trip = [\"25ms\"]\nloss = [\"0%\", \"0.1%\"]\nbuffer = [\"1BDP\"]\n";
    let grid = Grid::parse(Path::new("x.toml"), text).unwrap();
    let names: Vec<&str> = grid.scenarios.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names[1], "10Mbit-25ms-0.1%-1BDP");
    assert_eq!(names.len(), 4);
    assert_eq!(
        grid.scenarios[1].forward.delay(),
        Duration::from_micros(12_500)
    );
    assert_eq!(bytes_of(&grid.scenarios[2], 4.0), Some(10_000_000));
}

#[test]
fn a_bad_grid_names_file_and_line() {
    let error = |text: &str| {
        Grid::parse(Path::new("x.toml"), text)
            .unwrap_err()
            .to_string()
    };
    assert!(error("about = \"x\"\npears = []\n").starts_with("x.toml:2: "));
    let bad = "about = \"x\"\npeers = [\"rpcp\"]\n[product]\nrate = [\"10Mbut\"]\n\
               round-trip = [\"25ms\"]\nloss = [\"0%\"]\nbuffer = [\"1BDP\"]\n";
    let text = error(bad);
    assert!(
        text.starts_with("x.toml") && text.contains("field `rate`"),
        "{text}"
    );
    assert!(error("about = \"x\"\npeers = [\"rpcp\"]\n").contains("`scenarios`"));
}
