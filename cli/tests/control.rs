//! Commands to a running `rpclient` and `rpserver` over their Unix sockets.
#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions fail the test that calls them"
)]

mod world;

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::Command,
};

use world::{Running, World, ends_with, program, socks5, web};

/// The words of a program that ends well.
fn words(mut command: Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn status(world: &World, name: &str, control: &Path) -> Command {
    let mut command = program(name, &world.folder);
    command.arg("status").arg("--control").arg(control);
    command
}

#[test]
fn both_programs_tell_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("server.sock");
    let world = World::serving(&["--control", control.to_str().unwrap()]);
    let text = words(status(&world, "rpserver", &control));
    assert!(text.starts_with("rpserver "), "{text}");
    let control = folder.path().join("client.sock");
    let mut client = Running::start(world.client(&["--control", control.to_str().unwrap()]));
    client.said("listening on ");
    let text = words(status(&world, "rpclient", &control));
    assert!(text.starts_with("rpclient "), "{text}");
    assert!(text.contains("state     up\n"), "{text}");
}

#[test]
fn what_went_through_is_in_the_json_of_both() {
    let web = web(b"counted");
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = (folder.path().join("near"), folder.path().join("far"));
    let world = World::serving(&["--allow", "127.0.0.0/8", "--control", far.to_str().unwrap()]);
    let mut client = Running::start(world.client(&["--control", near.to_str().unwrap()]));
    let proxy = client.said("listening on ");
    let mut tcp = socks5(&proxy, web);
    tcp.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = [0; 10];
    tcp.read_exact(&mut answer).unwrap();
    for (name, control) in [("rpclient", &near), ("rpserver", &far)] {
        let mut command = status(&world, name, control);
        command.arg("--json");
        let status: serde_json::Value = serde_json::from_str(&words(command)).unwrap();
        let total = &status["total"];
        assert_eq!(total["connected"], 1, "{status}");
        assert_eq!(total["streams"], 1, "{status}");
        assert_eq!(total["up-bytes"], 18, "{status}");
        assert!(total["down-bytes"].as_u64().unwrap() > 7, "{status}");
        let connection = &status["connections"][0];
        assert!(connection["rtt-ms"].as_f64().unwrap() > 0.0, "{status}");
        assert!(status["rates"]["down-bps"].is_number(), "{status}");
    }
}

#[test]
fn a_program_is_found_by_its_usual_place_and_leaves_nothing_there() {
    let world = World::new();
    let run = tempfile::tempdir().unwrap();
    let within = |mut command: Command| {
        // Root's programs look in the system's folder instead, a unit's in its own.
        command.env("RUNTIME_DIRECTORY", run.path());
        command
    };
    let mut client = Running::start(within(world.client(&[])));
    client.said("listening on ");
    let mut command = program("rpclient", &world.folder);
    command.arg("status");
    let text = words(within(command));
    assert!(text.starts_with("rpclient "), "{text}");
    client.terminate();
    assert!(client.child.wait().unwrap().success());
    assert_eq!(run.path().read_dir().unwrap().count(), 0);
    let mut command = program("rpclient", &world.folder);
    command.arg("status");
    assert!(ends_with(within(command), 3).contains("no rpclient runs"));
}

#[test]
fn what_killed_programs_left_in_the_usual_place_goes_when_another_starts() {
    let world = World::new();
    let run = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = world.client(&[]);
        command.env("RUNTIME_DIRECTORY", run.path());
        let mut client = Running::start(command);
        client.said("listening on ");
        client
    };
    let files = || run.path().read_dir().unwrap().count();
    let (_running, mut killed) = (start(), start());
    assert_eq!(files(), 2);
    killed.kill();
    assert_eq!(files(), 2);
    // What is no socket of ours stays.
    std::fs::write(run.path().join("rpclient-notes.sock"), "").unwrap();
    std::os::unix::net::UnixListener::bind(run.path().join("other.sock")).unwrap();
    let _third = start();
    assert_eq!(files(), 4);
}

#[test]
fn a_killed_programs_socket_is_taken_over_and_a_running_ones_is_not() {
    let world = World::new();
    let control = world.path("c.sock");
    let start = || world.client(&["--control", control.to_str().unwrap()]);
    let mut first = Running::start(start());
    first.said("listening on ");
    assert!(ends_with(start(), 1).contains("a running program listens on it"));
    first.kill();
    assert!(control.exists());
    let mut second = Running::start(start());
    second.said("listening on ");
    assert!(words(status(&world, "rpclient", &control)).starts_with("rpclient "));
}
