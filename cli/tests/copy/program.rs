//! The program `rpcp`: what it copies, prints and exits with.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rp_cli::identity;

use crate::world::{Wire, World, content, expect, names, stderr};

#[test]
fn files_of_any_size_travel_both_ways() {
    let world = World::new();
    for size in [0, 1, 1199, 1 << 20, 9_000_001] {
        let bytes = content(size);
        fs::write(world.here("out"), &bytes).unwrap();
        world.run(0, &["out", &world.url("stored")]);
        assert_eq!(fs::read(world.root("stored")).unwrap(), bytes);
        let output = world.run(0, &["--checksum", &world.url("stored"), "back"]);
        assert_eq!(fs::read(world.here("back")).unwrap(), bytes);
        let line = format!("{}  stored\n", blake3::hash(&bytes).to_hex());
        assert_eq!(String::from_utf8_lossy(&output.stdout), line);
        assert_eq!(stderr(&output), "");
    }
    assert_eq!(names(&world.root("")), ["stored"]);
    assert_eq!(names(&world.here("")), ["back", "out"]);
}

#[test]
fn a_traced_copy_leaves_a_trace_and_nothing_else_changes() {
    let world = World::new();
    let bytes = content(3_000_000);
    fs::write(world.here("file"), &bytes).unwrap();
    let url = world.url("stored");
    let output = world.run(0, &["--trace", "copy.sqlog", "file", &url]);
    assert_eq!(stderr(&output), "");
    assert_eq!(fs::read(world.root("stored")).unwrap(), bytes);
    let trace = fs::read_to_string(world.here("copy.sqlog")).unwrap();
    let packets = trace.matches("quic:packet_sent").count();
    assert!(packets > 300, "{packets} packets of at most 8952 bytes");
    assert_eq!(trace.matches("quic:connection_closed").count(), 1);
}

#[test]
fn a_trace_that_finds_the_disk_full_does_not_stop_the_copy() {
    let world = World::new();
    let bytes = content(3_000_000);
    fs::write(world.here("file"), &bytes).unwrap();
    let url = world.url("stored");
    let output = world.run(0, &["--trace", "/dev/full", "file", &url]);
    assert_eq!(fs::read(world.root("stored")).unwrap(), bytes);
    let text = stderr(&output);
    assert!(text.contains("were not written: No space left"), "{text}");
}

#[test]
fn standard_streams_stand_in_for_files() {
    let world = World::new();
    let bytes = content(3_000_000);
    let mut command = world.rpcp(&["-", &world.url("piped")]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read(world.root("piped")).unwrap(), bytes);
    let output = world.run(0, &["--checksum", &world.url("piped"), "-"]);
    assert_eq!(output.stdout, bytes);
    let digest = blake3::hash(&bytes).to_hex();
    assert_eq!(stderr(&output), format!("{digest}  piped\n"));
}

#[test]
fn a_reader_that_has_enough_ends_the_copy_quietly_and_not_well() {
    let world = World::new();
    fs::write(world.root("file"), content(3_000_000)).unwrap();
    let mut command = world.rpcp(&[&world.url("file"), "-"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut some = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let output = expect(141, child.wait_with_output().unwrap());
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_folder_keeps_the_name_of_the_source() {
    let world = World::new();
    fs::create_dir(world.root("sub")).unwrap();
    fs::create_dir(world.here("mine")).unwrap();
    fs::write(world.here("file"), "text").unwrap();
    for target in ["sub", "sub/", ""] {
        world.run(0, &["file", &world.url(target)]);
        assert_eq!(fs::read(world.root(target).join("file")).unwrap(), b"text");
    }
    for target in ["mine", "mine/", "."] {
        world.run(0, &[&world.url("sub/file"), target]);
        assert_eq!(fs::read(world.here(target).join("file")).unwrap(), b"text");
    }
    let output = world.run(2, &["-", &world.url("sub/")]);
    assert!(stderr(&output).contains("no name"), "{}", stderr(&output));
}

#[test]
fn mode_and_time_are_kept_with_p() {
    let world = World::new();
    let file = world.here("file");
    fs::write(&file, "x").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o641)).unwrap();
    let opened = fs::File::options().write(true).open(&file).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::new(86_400, 5);
    opened.set_modified(time).unwrap();
    world.run(0, &["-p", "file", &world.url("kept")]);
    world.run(0, &["-p", &world.url("kept"), "back"]);
    for copy in [world.root("kept"), world.here("back")] {
        let metadata = fs::metadata(copy).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o641);
        assert_eq!(metadata.modified().unwrap(), time);
    }
}

#[test]
fn what_is_missing_is_exit_code_4_only_for_a_source() {
    let world = World::new();
    fs::write(world.here("file"), "x").unwrap();
    world.run(4, &["none", &world.url("x")]);
    world.run(4, &[&world.url("none"), "x"]);
    let output = world.run(1, &["file", &world.url("none/file")]);
    assert!(stderr(&output).contains("none"), "{}", stderr(&output));
    world.run(1, &[&world.url("none"), "none/x"]);
    assert_eq!(names(&world.here("")), ["file"]);
    assert_eq!(names(&world.root("")), [""; 0]);
}

#[test]
fn paths_that_leave_the_root_are_refused() {
    let world = World::new();
    fs::write(world.folder.path().join("secret"), "theirs").unwrap();
    std::os::unix::fs::symlink("../secret", world.root("link")).unwrap();
    std::os::unix::fs::symlink("..", world.root("up")).unwrap();
    fs::write(world.here("file"), "x").unwrap();
    for path in [
        "../secret",
        "a/../../secret",
        "%2e%2e/secret",
        "/etc/passwd",
        "link",
        "up/secret",
        "a%0ab",
        ".x.rp-partial",
    ] {
        let output = world.run(1, &[&world.url(path), "stolen"]);
        assert!(stderr(&output).starts_with("rpcp: the other side reports: "));
        assert!(!world.here("stolen").exists());
    }
    world.run(1, &["file", &world.url("../planted")]);
    world.run(1, &["file", &world.url("up/planted")]);
    assert_eq!(names(world.folder.path()), ["here", "id", "root", "secret"],);
}

#[test]
fn a_read_only_client_may_fetch_and_not_store() {
    let world = World::serving(true);
    fs::write(world.root("file"), "x").unwrap();
    fs::write(world.here("mine"), "y").unwrap();
    world.run(0, &[&world.url("file"), "got"]);
    let output = world.run(5, &["mine", &world.url("mine")]);
    assert!(
        stderr(&output).contains("may only read"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(&world.root("")), ["file"]);
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let world = World::new();
    let url = world.url("x");
    for args in [
        &["a", "b"][..],
        &["a", &url, &url],
        &["-user@host:file", "x"],
        &["http://host/file", "x"],
        &["-", "b", &url],
        &["-r", &url, "-"],
        &["--links", "some", "a", &url],
        &["ls", "here"],
        &["--policy", "fixed", "-", &url],
        &["--policy", "fixed", "--rate", "10M", &url, "x"],
        &["--rate", "fast", "-", &url],
        &["x"],
        &[],
    ] {
        world.run(2, args);
    }
}

#[test]
fn a_path_that_names_no_file_is_named_with_what_to_write() {
    let world = World::new();
    fs::create_dir(world.root("folder")).unwrap();
    for (args, wanted) in [
        (["", "out"], "an empty name is no file"),
        (["file", ""], "an empty name is no file"),
        (
            [&world.url(""), "out"],
            "/ is a folder: name the file in it",
        ),
        (
            [&world.url("folder/"), "."],
            "/folder/ is a folder: name the file in it",
        ),
        (
            [&world.url("")[..world.url("").len() - 1], "-"],
            "/ is a folder: name the file in it",
        ),
        (
            ["-", &world.url("")],
            "/ is a folder and standard input has no name",
        ),
        (
            ["-", &world.url("folder/")],
            "/folder/ is a folder and standard input has no name",
        ),
    ] {
        let said = stderr(&world.run(2, &args));
        assert!(
            said.contains(wanted) && !said.contains(": :"),
            "{args:?}: {said}"
        );
    }
    // Whoever asks all the same is told what was asked for.
    for path in [".", ".."] {
        let said = stderr(&world.run(1, &[&world.url(path), "out"]));
        assert!(!said.contains(": :"), "{path}: {said}");
    }
}

#[test]
fn a_key_that_is_not_let_in_is_told_what_to_do() {
    let world = World::new();
    fs::write(world.here("file"), "x").unwrap();
    let other = world.here("other");
    identity::load_or_make_host_key(&other, &rp_cli::prompt::Nobody).unwrap();
    let (url, key) = (world.url("file"), other.to_str().unwrap());
    for args in [["file", &url], [&url, "out"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
        command.current_dir(world.here("")).args(["-i", key]);
        command.args(["--host-key", &world.fingerprint]).args(args);
        let said = stderr(&expect(3, command.output().unwrap()));
        assert!(said.contains("authorized_keys"), "{said}");
    }
}

#[test]
fn a_server_with_another_key_is_refused() {
    let world = World::new();
    fs::write(world.here("file"), "x").unwrap();
    let other = identity::ephemeral().public_key().fingerprint();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
    command.current_dir(world.here("")).arg("-i").arg("../id");
    command.args(["--host-key", &other, "file", &world.url("file")]);
    expect(3, command.output().unwrap());
    assert_eq!(names(&world.root("")), [""; 0]);
}

#[test]
fn a_file_that_does_not_fit_is_refused_before_it_is_sent() {
    let world = World::new();
    let big = fs::File::create(world.here("big")).unwrap();
    // Sparse: it has the size, not the blocks. Where the file system has no such sizes there is
    // nothing to test.
    if big.set_len(1 << 43).is_err() {
        return;
    }
    let output = world.run(6, &["big", &world.url("big")]);
    assert!(stderr(&output).contains("free"), "{}", stderr(&output));
    assert_eq!(names(&world.root("")), [""; 0]);
}

#[test]
fn a_disk_that_fills_up_on_the_way_is_exit_code_6() {
    let world = World::new();
    fs::write(world.root("file"), content(1_000_000)).unwrap();
    let output = world.run(6, &[&world.url("file"), "/dev/full"]);
    assert!(stderr(&output).contains("/dev/full"), "{}", stderr(&output));
}

#[test]
fn a_second_writer_of_the_same_file_is_told_so() {
    let world = World::new();
    fs::write(world.here("file"), "second").unwrap();
    let mut command = world.rpcp(&["-", &world.url("file")]);
    let mut first = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = first.stdin.take().unwrap();
    input.write_all(b"fir").unwrap();
    wait_for(&world.root(".file.rp-partial"), |length| length.is_some());
    let output = world.run(1, &["file", &world.url("file")]);
    assert!(
        stderr(&output).contains("another copy"),
        "{}",
        stderr(&output)
    );
    input.write_all(b"st").unwrap();
    drop(input);
    assert!(first.wait().unwrap().success());
    assert_eq!(fs::read(world.root("file")).unwrap(), b"first");
}

/// Waits until the length of a file, `None` while it is not there, is as wanted.
pub(crate) fn wait_for(path: &Path, wanted: impl Fn(Option<u64>) -> bool) {
    let begun = Instant::now();
    while !wanted(fs::metadata(path).ok().map(|data| data.len())) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{path:?}");
        std::thread::yield_now();
    }
}

/// Begins a copy that cannot end by itself, and waits until some of it has arrived.
fn begin_endless(world: &World, port: u16) -> Child {
    let url = format!("rp://127.0.0.1:{port}/zeros");
    let mut command = world.rpcp(&["/dev/zero", &url]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&world.root(".zeros.rp-partial"), |length| {
        length.is_some_and(|length| length > 1 << 20)
    });
    child
}

#[test]
fn ctrl_c_leaves_a_partial_file_and_exit_code_130() {
    let world = World::new();
    let child = begin_endless(&world, world.port);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = expect(130, child.wait_with_output().unwrap());
    assert!(
        stderr(&output).contains("interrupted"),
        "{}",
        stderr(&output)
    );
    assert!(!world.root("zeros").exists());
    assert!(world.root(".zeros.rp-partial").exists());
}

#[test]
fn a_server_that_closes_ends_the_copy_at_once() {
    let world = World::new();
    let child = begin_endless(&world, world.port);
    world.endpoint.close(7u32.into(), b"maintenance");
    let output = expect(3, child.wait_with_output().unwrap());
    assert!(
        stderr(&output).contains("maintenance"),
        "{}",
        stderr(&output)
    );
    assert!(!world.root("zeros").exists());
}

#[test]
fn a_server_that_falls_silent_ends_the_copy_within_the_idle_timeout() {
    let world = World::new();
    let wire = Wire::to(&world);
    let child = begin_endless(&world, wire.port);
    let begun = Instant::now();
    wire.cut();
    let output = expect(9, child.wait_with_output().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(stderr(&output).contains("silent"), "{}", stderr(&output));
    assert!(!world.root("zeros").exists());
}

#[test]
fn a_source_that_shrinks_is_exit_code_8() {
    let world = World::new();
    let path = world.here("log");
    fs::write(&path, content(64 << 20)).unwrap();
    let url = world.url("log");
    let mut command = world.rpcp(&["--rate", "80M", "log", &url]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&world.root(".log.rp-partial"), |length| {
        length.is_some_and(|length| length > 1 << 18)
    });
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(48 << 20).unwrap();
    expect(8, child.wait_with_output().unwrap());
    assert_eq!(names(&world.root("")), [""; 0]);
}

#[test]
fn a_copy_takes_two_round_trips_and_its_end_none() {
    let world = World::new();
    fs::write(world.here("file"), content(1000)).unwrap();
    let round_trip = Duration::from_secs(1);
    let url = format!(
        "rp://127.0.0.1:{}/file",
        Wire::slow(&world, round_trip / 2).port
    );
    // One for the handshake, one for the request; what is not round trips is the machine's.
    for args in [["file", &url], [&url, "back"]] {
        let begun = Instant::now();
        world.run(0, &["--no-path-memory", args[0], args[1]]);
        let took = begun.elapsed();
        assert!(
            2 * round_trip <= took && took < 3 * round_trip,
            "{args:?}: {took:?}"
        );
    }
}

#[test]
fn a_pipe_as_target_is_written_to_in_order() {
    let world = World::new();
    let bytes = content(2_000_000);
    fs::write(world.root("file"), &bytes).unwrap();
    let pipe = world.here("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut pipe = fs::File::open(pipe).unwrap();
        pipe.read_to_end(&mut seen).unwrap();
        seen
    });
    world.run(0, &[&world.url("file"), "pipe"]);
    assert_eq!(reader.join().unwrap(), bytes);
    world.run(0, &[&world.url("file"), "/dev/null"]);
}

#[test]
fn a_rate_typed_with_l_is_not_exceeded() {
    let world = World::new();
    let bytes = content(1_000_000);
    fs::write(world.here("file"), &bytes).unwrap();
    let begun = Instant::now();
    // 8000 kbit/s: a second for this file, less what may leave at once.
    world.run(0, &["-l", "8000", "file", &world.url("stored")]);
    assert!(begun.elapsed() > Duration::from_millis(900));
    assert_eq!(fs::read(world.root("stored")).unwrap(), bytes);
}

#[test]
fn a_known_path_is_recalled_unless_told_not_to_and_a_damaged_file_is_no_error() {
    let world = World::new();
    fs::write(world.here("file"), content(100_000)).unwrap();
    let state = world.folder.path().join(".local/state/rapidpath");
    let file = state.join("paths.toml");
    let url = world.url("stored");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let known = format!(
        "[[path]]\nserver = '127.0.0.1:{}'\naddress = '127.0.0.1'\nbytes-per-second = 1000000\n\
         min-rtt-us = 100\nlearnt-at = {}\n",
        world.port,
        now.as_secs()
    );
    let recalled = |args: &[&str]| {
        let output = world.run(0, &[args, &["file", &url]].concat());
        stderr(&output).contains("path known from before")
    };
    assert!(!recalled(&["-vv", "--no-path-memory"]));
    assert!(!state.exists());
    fs::create_dir_all(&state).unwrap();
    fs::write(&file, &known).unwrap();
    assert!(recalled(&["-vv"]));
    assert!(!recalled(&["-vv", "--no-path-memory"]));
    fs::write(&file, "no settings\0").unwrap();
    let output = world.run(0, &["file", &url]);
    assert_eq!(stderr(&output), "");
}
