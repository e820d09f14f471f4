//! `rpserver --once-key`: one line, pasted at the other machine, fetches everything, once.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use crate::{
    trees::{plant, tree},
    world::{World, expect, names, stderr},
};

/// A server of `root`, and the line that it prints.
fn serve(folder: &std::path::Path) -> (Child, String) {
    let bin = env!("CARGO_BIN_EXE_rpserver");
    let mut server = Command::new(bin)
        .args([
            "--root",
            "root",
            "--once-key",
            "--listen",
            "127.0.0.1:0",
            "--control",
            "off",
        ])
        .current_dir(folder)
        .env("HOME", "/nonexistent")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    (server, line)
}

/// Does what the line says, as a shell does.
fn paste(world: &std::path::Path, line: &str) -> Command {
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_rpcp"))
        .parent()
        .unwrap();
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(line).current_dir(world.join("here"));
    shell
        .env("HOME", "/nonexistent")
        .env("PATH", bin)
        .stdin(Stdio::null());
    shell
}

#[test]
fn two_commands_fetch_everything_and_leave_nothing_behind() {
    let folder = World::folders();
    plant(&folder.path().join("root"));
    let (mut server, line) = serve(folder.path());
    let output = expect(0, paste(folder.path(), &line).output().unwrap());
    assert_eq!(stderr(&output), "");
    assert_eq!(
        tree(&folder.path().join("here")),
        tree(&folder.path().join("root"))
    );
    // The key is used up, and with it the server.
    assert!(server.wait().unwrap().success());
    assert_eq!(names(folder.path()), ["here", "root"].map(String::from));
    let word = line.split(['=', ' ']).nth(1).unwrap();
    assert_eq!(word.len(), 64);
    let mut log = String::new();
    server
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(log.contains("used up"), "{log}");
    assert!(!log.contains(word) && !log.contains(&word[..20]), "{log}");
}

#[test]
fn the_key_reads_and_nobody_else_is_let_in() {
    let folder = World::folders();
    fs::write(folder.path().join("root/file"), "text").unwrap();
    fs::write(folder.path().join("here/mine"), "text").unwrap();
    let (mut server, line) = serve(folder.path());
    let url = line.split(' ').nth(3).unwrap();
    let key = line.split(' ').next().unwrap();
    let run = |code, line: String| expect(code, paste(folder.path(), &line).output().unwrap());
    let output = run(5, format!("{key} rpcp mine {url}"));
    assert!(
        stderr(&output).contains("may only read"),
        "{}",
        stderr(&output)
    );
    let output = run(5, format!("{key} rpcp rm {url}file"));
    assert!(
        stderr(&output).contains("may only read"),
        "{}",
        stderr(&output)
    );
    // Another secret for the same server.
    let other = match key.as_bytes()[20] {
        b'A' => 'B',
        _ => 'A',
    };
    let guess = format!("{}{other}{}", &key[..20], &key[21..]);
    let output = run(3, format!("{guess} rpcp {url}file ."));
    assert!(
        stderr(&output).contains("does not let our key in"),
        "{}",
        stderr(&output)
    );
    // The same secret at another server.
    let (mut second, line) = serve(folder.path());
    let elsewhere = line.split(' ').nth(3).unwrap();
    let output = run(3, format!("{key} rpcp {elsewhere}file ."));
    assert!(
        stderr(&output).contains("shows the key"),
        "{}",
        stderr(&output)
    );
    let output = run(2, format!("{}x rpcp {url}file .", &key[..40]));
    assert!(
        stderr(&output).contains("paste the whole line"),
        "{}",
        stderr(&output)
    );
    // What failed has not used it up.
    run(0, format!("{key} rpcp {url}file ."));
    assert!(server.wait().unwrap().success());
    second.kill().unwrap();
    second.wait().unwrap();
}
