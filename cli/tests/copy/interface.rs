//! What a copy says while it runs and in the end, to people and to programs, and what is typed meanwhile.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::symlink},
    process::{Child, Command, Stdio},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use serde_json::Value;

use crate::{
    program::wait_for,
    world::{World, content, expect, names, stderr},
};

/// The objects that a program is told.
fn events(output: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == kind)
        .collect()
}

#[test]
fn a_program_is_told_everything_in_objects_and_the_last_is_a_summary() {
    let world = World::new();
    fs::create_dir(world.here("tree")).unwrap();
    fs::write(world.here("tree/file"), content(5000)).unwrap();
    symlink("nowhere", world.here("tree/bad")).unwrap();
    let output = world.run(1, &["-r", "--json", "tree", &world.url("")]);
    let told = events(&output.stdout);
    let error = of(&told, "error");
    assert_eq!(error.len(), 1, "{told:?}");
    assert_eq!(error[0]["path"], "tree/bad");
    assert_eq!(error[0]["status"], "not-found");
    let last = told.last().unwrap();
    assert_eq!(last["event"], "summary");
    assert_eq!(last["exit_code"], 1);
    assert_eq!(last["files"], 1);
    assert_eq!(last["failed"], 1);
    assert_eq!(last["bytes"], 5000);
    assert!(last["error"].as_str().unwrap().contains("1 of 2"), "{last}");
    assert!(last["sent_packets"].as_u64().unwrap() > 0, "{last}");
    assert!(last["rtt_ms"].as_f64().unwrap() > 0.0, "{last}");
    // In a dry run, what would be done.
    fs::remove_file(world.here("tree/bad")).unwrap();
    fs::write(world.root("tree/old"), "x").unwrap();
    let args = [
        "-r",
        "--json",
        "--dry-run",
        "--delete",
        "tree",
        &world.url(""),
    ];
    let output = world.run(0, &args);
    let told = events(&output.stdout);
    let plans: Vec<_> = of(&told, "plan")
        .iter()
        .map(|plan| {
            (
                plan["action"].as_str().unwrap(),
                plan["path"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(plans, [("copy", "tree/file"), ("delete", "tree/old")]);
    // A file on standard output leaves the objects to standard error.
    let output = world.run(0, &["--json", "--checksum", &world.url("tree/file"), "-"]);
    assert_eq!(output.stdout, content(5000));
    let told = events(&output.stderr);
    let digest = blake3::hash(&content(5000)).to_hex();
    assert_eq!(of(&told, "digest")[0]["blake3"], digest.as_str());
    assert_eq!(told.last().unwrap()["exit_code"], 0);
    // Also where there was no copy at all.
    let output = world.run(4, &["--json", "none", &world.url("")]);
    let told = events(&output.stdout);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["exit_code"], 4);
    assert!(
        told[0]["error"].as_str().unwrap().contains("none"),
        "{told:?}"
    );
}

#[test]
fn a_program_is_told_how_far_the_copy_is() {
    let world = World::new();
    fs::write(world.here("file"), content(300_000)).unwrap();
    let output = world.run(0, &["--json", "--rate", "1600k", "file", &world.url("")]);
    let told = events(&output.stdout);
    let progress = of(&told, "progress");
    assert!(progress.len() >= 2, "{told:?}");
    for event in progress {
        assert_eq!(event["total_bytes"], 300_000);
        assert!(event["bytes"].as_u64().unwrap() <= 300_000);
    }
}

#[test]
fn stats_are_a_table_in_the_end() {
    let world = World::new();
    fs::write(world.here("file"), content(300_000)).unwrap();
    for args in [
        ["--stats", "file", &world.url("")],
        ["--stats", &world.url("file"), "back"],
    ] {
        let text = stderr(&world.run(0, &args));
        for row in [
            "duration  ",
            "goodput  ",
            "on the wire  ",
            "retransmits  ",
            "disk wait  ",
            "RTT  ",
            "loss  ",
            "queue  ",
        ] {
            assert!(
                text.lines().any(|line| line.starts_with(row)),
                "{row}: {text}"
            );
        }
        assert!(text.contains("300000 bytes in 1 files"), "{text}");
    }
}

/// A terminal, and a program that has it as its standard input and error.
struct Terminal {
    screen: File,
    /// Kept open, so that reading the screen does not end with the program.
    end: OwnedFd,
    child: Child,
    seen: String,
}

impl Terminal {
    fn run(mut command: Command, columns: u16) -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let size = Winsize {
            ws_col: columns,
            ws_row: 24,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&screen, size).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap().into_string().unwrap();
        let open = || File::options().read(true).write(true).open(&name).unwrap();
        let child = command
            .env("TERM", "xterm")
            .stdin(open())
            .stderr(open())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            screen: screen.into(),
            end: open().into(),
            child,
            seen: String::new(),
        }
    }

    fn kind(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    /// Reads the screen until there is `text`.
    fn wait_for(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        while !self.seen.contains(text) {
            let read = self.screen.read(&mut bytes).unwrap();
            self.seen += &String::from_utf8_lossy(&bytes[..read]);
        }
    }

    fn is_line_by_line(&self) -> bool {
        let modes = tcgetattr(&self.end).unwrap();
        modes
            .local_modes
            .contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// All lines that were drawn, without what steers the terminal.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        let mut chars = self.seen.chars();
        while let Some(c) = chars.next() {
            match c {
                '\u{1b}' => {
                    let _ = chars.by_ref().skip(1).find(char::is_ascii_alphabetic);
                }
                '\r' | '\n' => lines.push(String::new()),
                c => lines.last_mut().unwrap().push(c),
            }
        }
        lines
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_change_the_rate_and_the_lines_fit_the_terminal() {
    let world = World::new();
    fs::create_dir_all(world.root("tree")).unwrap();
    fs::create_dir_all(world.here("a-tree-with-a-long-name")).unwrap();
    for (folder, columns, is_push) in [
        (world.here("a-tree-with-a-long-name"), 40, true),
        (world.root("tree"), 80, false),
    ] {
        for name in [
            "a-large-file-with-a-name-that-is-longer-than-40-columns",
            "other",
        ] {
            fs::write(folder.join(name), content(3 << 20)).unwrap();
        }
        let args = match is_push {
            true => ["a-tree-with-a-long-name".to_owned(), world.url("")],
            false => [world.url("tree"), ".".to_owned()],
        };
        // At this rate it would take ten minutes.
        let args = ["-r", "--rate", "100k", &args[0], &args[1]];
        let mut terminal = Terminal::run(world.rpcp(&args), columns);
        terminal.wait_for("%");
        assert!(!terminal.is_line_by_line());
        terminal.kind("-");
        terminal.wait_for("at most 80.0 kbit/s");
        terminal.kind(&"+".repeat(40));
        terminal.wait_for("at most 100 kbit/s");
        let status = terminal.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", terminal.seen);
        assert!(terminal.is_line_by_line());
        let lines = terminal.lines();
        terminal.kind("x\n");
        terminal.wait_for("x\r\n");
        for line in lines {
            let width = line.chars().count();
            // Lines below each other are filled up to the border.
            let columns = usize::from(columns);
            let fits = width <= columns || width.is_multiple_of(columns);
            assert!(fits, "{width}: {line:?}");
        }
    }
}

#[test]
fn without_a_terminal_nothing_is_drawn() {
    let world = World::new();
    fs::write(world.here("file"), content(300_000)).unwrap();
    let output = world.run(0, &["--rate", "1600k", "file", &world.url("")]);
    assert_eq!(stderr(&output), "");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_second_signal_ends_at_once() {
    let world = World::new();
    // What waits for its input is given two seconds after the first one.
    let mut command = world.rpcp(&["-", &world.url("file")]);
    let piped = command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    wait_for(&world.root(".file.rp-partial"), |length| length.is_some());
    let id = Pid::from_child(&child);
    kill_process(id, Signal::INT).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    let output = expect(130, child.wait_with_output().unwrap());
    // A tidy end says that the partial file stays.
    assert_eq!(stderr(&output), "");
    assert_eq!(names(&world.root("")), [".file.rp-partial"]);
}
