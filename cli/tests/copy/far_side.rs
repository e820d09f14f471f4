//! `host:path` where something is missing or in the way, and `rpcp --server` by itself.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
};

use crate::{
    ssh::{Far, words},
    world::{expect, stderr},
};

#[test]
fn a_missing_rpcp_says_how_to_put_it_there() {
    let Some(far) = Far::with_path("/usr/bin:/bin") else {
        return;
    };
    let output = far.run(3, &words(&["far:x", "x"]));
    let said = stderr(&output);
    assert!(
        said.contains("scp ") && said.contains("far:.local/bin/rpcp"),
        "{said}"
    );
}

#[test]
fn each_way_in_which_ssh_fails_is_told_and_has_its_exit_code() {
    let bin = tempfile::tempdir().unwrap();
    let Some(far) = Far::with_path(&format!("{}:/usr/bin:/bin", bin.path().display())) else {
        return;
    };
    let says = |script: &str| {
        let rpcp = bin.path().join("rpcp");
        fs::write(&rpcp, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&rpcp, fs::Permissions::from_mode(0o755)).unwrap();
    };
    for (script, code, text) in [
        ("echo rpcp-ssh 2; echo go", 10, "same release"),
        ("echo usage >&2; exit 2", 10, "same release"),
        ("echo hello there; exit 1", 3, "hello there"),
        ("yes", 3, "y y y"),
        ("echo rpcp-ssh 1; echo udp 7; echo go", 3, "its key"),
    ] {
        says(script);
        let output = far.run(code, &words(&["far:x", "x"]));
        assert!(
            stderr(&output).contains(text),
            "{script}: {}",
            stderr(&output)
        );
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port().to_string();
    drop(nobody);
    let output = far.run(3, &words(&["-P", &port, "far:x", "x"]));
    assert!(
        stderr(&output).contains("cannot log in"),
        "{}",
        stderr(&output)
    );
    let mut command = far.rpcp("ssh_config");
    command.env("PATH", "/nowhere").args(["far:x", "x"]);
    let output = expect(3, command.output().unwrap());
    assert!(
        stderr(&output).contains("install OpenSSH"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn udp_that_does_not_get_through_is_told() {
    let bin = tempfile::tempdir().unwrap();
    let Some(far) = Far::with_path(&format!("{}:/usr/bin:/bin", bin.path().display())) else {
        return;
    };
    // One that hears nothing of what is sent to it.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    let rpcp = bin.path().join("rpcp");
    let script = format!(
        "#!/bin/sh\necho; echo rpcp-ssh 1; echo {}; echo udp {port}; echo at 0; echo go; cat\n",
        KEY.trim()
    );
    fs::write(&rpcp, script).unwrap();
    fs::set_permissions(&rpcp, fs::Permissions::from_mode(0o755)).unwrap();
    let output = far.run(3, &words(&["far:x", "x"]));
    let said = stderr(&output);
    assert!(
        said.contains(&format!("no answer from 127.0.0.1:{port}")),
        "{said}"
    );
    assert!(said.contains("--udp-ports"), "{said}");
}

#[test]
fn the_far_side_listens_where_it_is_told() {
    let Some(far) = Far::new() else { return };
    fs::write(far.here("file"), "text").unwrap();
    let taken = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"));
    let taken = taken.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let typed = |options: &[&str]| {
        [
            words(&["--udp-ports", &port]),
            words(options),
            words(&["file"]),
            vec![far.to("far", "")],
        ]
        .concat()
    };
    let output = far.run(3, &typed(&[]));
    let said = stderr(&output);
    assert!(
        said.contains(&format!("no UDP port of {port} to {port}")),
        "{said}"
    );
    drop(taken);
    let output = far.run(0, &typed(&["--stats"]));
    assert!(
        stderr(&output).contains(&format!(":{port}\n")),
        "{}",
        stderr(&output)
    );
}

/// `rpcp --server` without ssh.
fn far_side() -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
    command.arg("--server").stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

const KEY: &str =
    "key ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n";

#[test]
fn the_far_side_ends_when_nothing_more_can_be_said_to_it() {
    //= spec/20-copy.md#over-ssh
    //= type=test
    //# A far side MUST end when the ssh session does.
    let mut keys = Vec::new();
    for _ in 0..2 {
        let mut child = far_side();
        let mut stdin = child.stdin.take().unwrap();
        let hello = format!("rpcp-ssh 1\n{KEY}source .\ngo\n");
        stdin.write_all(hello.as_bytes()).unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said: Vec<_> = lines
            .by_ref()
            .map(Result::unwrap)
            .take_while(|line| line != "go")
            .collect();
        assert_eq!(said.remove(0), "");
        assert_eq!((said[0].as_str(), said[3].as_str()), ("rpcp-ssh 1", "at 0"));
        keys.push(said[1].clone());
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
    //= spec/20-copy.md#over-ssh
    //= type=test
    //# Each side MUST make a key for this one copy and MUST NOT keep it.
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_far_side_that_is_not_understood_says_so() {
    for (said, code, text) in [
        ("", 3, "ended before"),
        ("rpcp-ssh 2\ngo\n", 10, "version 2"),
        ("rpcp-ssh 1\nsource x\ngo\n", 3, "its key"),
        ("GET / HTTP/1.1\n\n", 3, "GET /"),
    ] {
        let mut child = far_side();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(said.as_bytes())
            .unwrap();
        let output = expect(code, child.wait_with_output().unwrap());
        assert!(
            stderr(&output).contains(text),
            "{said}: {}",
            stderr(&output)
        );
    }
}
