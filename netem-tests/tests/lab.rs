//! The `lab` program as a whole, over a real link between namespaces: runs, resuming, and what is left
//! after it was killed. Without root these say that they are skipped; the implementations' figures are not judged.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests are tests too, and a skipped one says so"
)]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rp_netem_tests::{
    netns,
    record::{Outcome, read},
    report::grid::Record,
};

/// Says why a test that needs root proves nothing here.
fn skipped(test: &str) -> bool {
    let reason = netns::unavailable();
    if let Some(reason) = reason {
        println!("SKIPPED {test}: {reason}");
    }
    reason.is_some()
}

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    lab(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn records(path: &Path) -> Vec<Record> {
    read(path).unwrap()
}

#[test]
fn a_cell_is_measured_recorded_resumed_and_reported() {
    if skipped("a_cell_is_measured_recorded_resumed_and_reported") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("grid.jsonl");
    let out_text = out.to_string_lossy();
    let run = [
        "run",
        "baseline-a",
        "--peers",
        "tcp-cubic",
        "--repeat",
        "1",
        "--seconds",
        "1",
        "--limit",
        "20",
        "--offline",
        "--out",
        &out_text,
    ];
    let first = output(&run);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let record = &records(&out)[0];
    assert_eq!(record.outcome, Outcome::Complete);
    let figures = record.figures.as_ref().unwrap();
    assert_eq!(figures.bytes, 12_500_000);
    assert!(figures.wire_forward_bytes > figures.bytes, "{figures:?}");
    assert!(figures.elapsed_s > 1.0, "faster than the link: {figures:?}");

    let resumed = output(&[&run[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert!(text(&resumed.stdout).contains("1 were there already"));
    assert_eq!(records(&out).len(), 1);

    let (results, page) = (folder.path().to_string_lossy(), folder.path().join("R.md"));
    let report = output(&[
        "report",
        "--results",
        &results,
        "--out",
        &page.to_string_lossy(),
    ]);
    assert!(report.status.success(), "{}", text(&report.stderr));
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("| tcp-cubic |"), "{page}");
    assert!(page.contains("## Not measured"), "{page}");
}

/// What is left on this machine of the process of that number.
fn left_of(process: u32) -> Vec<String> {
    let own = format!("-{process}-");
    let mut left = netns::existing().unwrap();
    let mut folders = vec!["/dev/shm".into(), std::env::temp_dir()];
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let groups = mounts.lines().find(|line| line.contains(" cgroup2 "));
    folders.extend(
        groups
            .and_then(|line| line.split(' ').nth(1))
            .map(Into::into),
    );
    for folder in folders {
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            if name.starts_with("rplab-") || name.starts_with("rapidpath-lab-") {
                left.push(name);
            }
        }
    }
    left.retain(|name| name.contains(&own));
    left
}

/// Programs that stand in the namespaces of that process.
fn programs_of(process: u32) -> usize {
    let own = format!("-{process}-");
    let names = netns::existing().unwrap();
    let inside = |name: &String| {
        let pids = Command::new("ip").args(["netns", "pids", name]).output();
        text(&pids.unwrap().stdout).lines().count()
    };
    names
        .iter()
        .filter(|name| name.contains(&own))
        .map(inside)
        .sum()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::yield_now();
    }
}

/// A run that lasts until somebody ends it, with programs on both sides.
fn long_run(out: &Path) -> Child {
    let mut child = lab(&[
        "run",
        "baseline-b",
        "--peers",
        "tcp-cubic",
        "--repeat",
        "1",
        "--seconds",
        "60",
        "--limit",
        "60",
        "--offline",
        "--out",
        &out.to_string_lossy(),
    ])
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    // The lab's own thread stands inside too, besides the two programs.
    wait_until("programs on both sides", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        programs_of(child.id()) >= 2
    });
    child
}

#[test]
fn a_killed_run_leaves_nothing_once_cleaned() {
    if skipped("a_killed_run_leaves_nothing_once_cleaned") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = long_run(&folder.path().join("grid.jsonl"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!left_of(child.id()).is_empty());
    let cleaned = output(&["clean"]);
    assert!(cleaned.status.success(), "{}", text(&cleaned.stderr));
    assert_eq!(left_of(child.id()), [""; 0]);
}

#[test]
fn an_interrupted_run_takes_everything_with_it() {
    if skipped("an_interrupted_run_takes_everything_with_it") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("grid.jsonl");
    let mut child = long_run(&out);
    let number = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(number, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(left_of(child.id()), [""; 0]);
    // What was interrupted is no result.
    assert_eq!(records(&out).len(), 0);
}

#[test]
fn an_unknown_rival_or_link_is_named() {
    let unknown = output(&["run", "--peers", "carrier-pigeon"]);
    assert!(!unknown.status.success());
    assert!(text(&unknown.stderr).contains("carrier-pigeon"));
    let unknown = output(&["run", "atlantis"]);
    assert!(text(&unknown.stderr).contains("atlantis.toml"));
}
