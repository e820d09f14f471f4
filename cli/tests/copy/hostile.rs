//! Sides that mean harm, and somebody who does beside an honest copy: nothing outside of the folder of a copy is
//! touched, which the kernel's own record of the calls shows.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use rp_protocol::Connection;
use rp_transfer::message::{
    Attributes, Done, Entry, Get, Kind, List, MakeFolder, Message, PutBatch, Ready, Remove, Status,
};

use crate::{
    refusals::Server,
    service::{Control, digest, put},
    world::{World, before, expect, names, stderr},
};

/// `command` with every call that names a file written down, one log for each thread.
fn recording(command: &Command, log: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args([
        "-ff",
        "-qq",
        "-y",
        "--seccomp-bpf",
        "-e",
        "trace=%file",
        "-o",
    ]);
    strace.arg(log);
    before(strace, command)
}

/// Paths that were opened for writing, made, renamed or removed, from the logs that begin with `log`.
fn written(log: &Path) -> Vec<PathBuf> {
    let (folder, start) = (log.parent().unwrap(), log.file_name().unwrap());
    let start = format!("{}.", start.to_str().unwrap());
    let logs = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut written = Vec::new();
    for log in logs.filter(|log| log.file_name().to_str().unwrap().starts_with(&start)) {
        let text = String::from_utf8_lossy(&fs::read(log.path()).unwrap()).into_owned();
        written.extend(text.lines().flat_map(paths_written));
    }
    written
}

/// Of one call, as strace writes it: `openat(5</dir>, "name", O_RDWR) = 6</dir/name>`.
fn paths_written(line: &str) -> Vec<PathBuf> {
    let Some((call, rest)) = line.split_once('(') else {
        return Vec::new();
    };
    let Some((arguments, result)) = rest.rsplit_once(" = ") else {
        return Vec::new();
    };
    // Results stand in a column.
    let arguments = arguments.trim_end().trim_end_matches(')');
    if result.starts_with('-') || result.starts_with('?') {
        return Vec::new();
    }
    match call {
        "open" | "openat" | "openat2" | "creat" => {
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE"];
            let opened = result
                .split_once('<')
                .map(|(_, path)| path.trim_end_matches('>'));
            match writes.iter().any(|flag| arguments.contains(flag)) {
                true => vec![PathBuf::from(opened.unwrap_or(result))],
                false => Vec::new(),
            }
        }
        "mkdir" | "mkdirat" | "mknodat" | "symlink" | "symlinkat" | "link" | "linkat"
        | "rename" | "renameat" | "renameat2" | "unlink" | "unlinkat" | "rmdir" | "truncate" => {
            named(call, arguments)
        }
        _ => Vec::new(),
    }
}

/// The paths among the arguments of a call, each beneath the folder that stands before it.
fn named(call: &str, arguments: &str) -> Vec<PathBuf> {
    let mut folder = PathBuf::new();
    let mut paths = Vec::new();
    // What a link says is not what is written.
    let skipped = usize::from(call.starts_with("symlink"));
    for argument in arguments.split(", ") {
        if let Some((_, path)) = argument.split_once('<') {
            folder = PathBuf::from(path.trim_end_matches('>'));
        } else if let Some(path) = argument.strip_prefix('"') {
            paths.push(folder.join(path.trim_end_matches('"')));
        }
    }
    paths.split_off(skipped.min(paths.len()))
}

/// Asserts that something was written, and nothing outside of `root`.
fn assert_beneath(root: &Path, written: &[PathBuf]) {
    let root = root.canonicalize().unwrap();
    let is_ours = |path: &PathBuf| {
        let is_beneath =
            path.starts_with(&root) && !path.components().any(|part| part.as_os_str() == "..");
        is_beneath
            || ["/dev/null", "/dev/tty"]
                .map(Path::new)
                .contains(&path.as_path())
    };
    let outside: Vec<_> = written.iter().filter(|path| !is_ours(path)).collect();
    assert!(
        outside.is_empty(),
        "outside of {}: {outside:?}",
        root.display()
    );
    assert!(
        written.iter().any(|path| path.starts_with(&root)),
        "nothing was recorded"
    );
}

#[test]
fn the_record_is_read_as_strace_writes_it() {
    for (line, paths) in [
        (
            r#"openat(5</a>, "f", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 6</a/f>"#,
            &["/a/f"][..],
        ),
        (r#"openat(5</a>, "f", O_RDONLY|O_CLOEXEC) = 6</a/f>"#, &[]),
        (
            r#"openat(5</a>, "f", O_RDWR) = -1 EACCES (Permission denied)"#,
            &[],
        ),
        (
            r#"openat2(5</a>, "f", {flags=O_WRONLY, resolve=RESOLVE_BENEATH}, 24) = 6</b/f>"#,
            &["/b/f"],
        ),
        (r#"mkdirat(5</a>, "d", 0777) = 0"#, &["/a/d"]),
        (r#"symlinkat("/etc", 5</a>, "l") = 0"#, &["/a/l"]),
        (r#"renameat(5</a>, "x", 6</b>, "y") = 0"#, &["/a/x", "/b/y"]),
        (r#"unlink("/etc/x") = 0"#, &["/etc/x"]),
        (r#"statx(5</a>, "x", 0, 0, {}) = 0"#, &[]),
    ] {
        let expected: Vec<_> = paths.iter().map(PathBuf::from).collect();
        assert_eq!(paths_written(line), expected, "{line}");
    }
}

fn file(path: &[u8]) -> Entry {
    let content = b"planted";
    Entry {
        path: path.to_vec(),
        kind: Kind::File,
        attributes: Attributes {
            size: Some(content.len() as u64),
            mode: Some(0o6777),
            ..Attributes::default()
        },
        digest: Some(*blake3::hash(content).as_bytes()),
        ..Entry::default()
    }
}

fn link(path: &[u8], target: &[u8]) -> Entry {
    Entry {
        path: path.to_vec(),
        kind: Kind::Link,
        target: target.to_vec(),
        ..Entry::default()
    }
}

fn done(status: Status) -> Message {
    let text = String::new();
    Message::Done(Done { status, text })
}

/// What a server that means harm says there is.
fn evil_tree() -> Vec<Entry> {
    let folder = |path: &[u8]| Entry {
        path: path.to_vec(),
        kind: Kind::Folder,
        ..Entry::default()
    };
    vec![
        folder(b""),
        link(b"out", b"../../outside"),
        file(b"out/through"),
        folder(b"out/made"),
        link(b"abs", b"/"),
        file(b"abs/tmp/through-absolute"),
        file(b"../up"),
        file(b"a/../../up"),
        folder(b"../up-folder"),
        link(b"../up-link", b"x"),
        file(b"/absolute"),
        file(b"line\nfeed"),
        file(b"bell\x07\x1b[2J"),
        file(b".x.rp-partial"),
        file(b".x.rp-journal"),
        file(&[b'n'; 256]),
        file(b"special"),
        file(b"twice"),
        file(b"twice"),
        link(b"twice", b"../outside"),
        file(b"good"),
    ]
}

/// Answers requests with that tree, and each batch with what was not asked for behind it.
async fn serve_evil(connection: Connection, adds: bool) {
    while let Ok(streams) = connection.accept_bi().await {
        let connection = connection.clone();
        tokio::spawn(async move {
            let mut control = Control::over(streams);
            match control.next().await {
                Some(Message::List(_)) => {
                    for entry in evil_tree() {
                        control.send(Message::Entry(entry)).await;
                    }
                    control.send(done(Status::Ok)).await;
                }
                Some(Message::GetBatch(get)) => {
                    let mut bytes = Vec::new();
                    for _ in 0..get.count {
                        let Some(Message::Entry(asked)) = control.next().await else {
                            return;
                        };
                        Message::Entry(file(&asked.path)).encode(&mut bytes);
                        bytes.extend(b"planted");
                    }
                    for path in [&b"../unasked"[..], b"out/unasked", b"unasked"] {
                        if adds {
                            Message::Entry(file(path)).encode(&mut bytes);
                            bytes.extend(b"planted");
                        }
                    }
                    let mut data = connection.open_uni().await.unwrap();
                    let ready = Ready {
                        stream: Some(data.id().into_inner()),
                        ..Ready::default()
                    };
                    control.send(Message::Ready(ready)).await;
                    let _ = data.write_bytes(bytes.into()).await;
                    let _ = data.finish();
                }
                _ => control.send(done(Status::NotFound)).await,
            }
            while let Ok(Some(_)) = control.reader.read_bytes(4096).await {}
        });
    }
}

#[test]
fn a_hostile_sender_writes_nothing_outside_of_the_folder_that_was_typed() {
    for (adds, links) in [(false, "keep"), (false, "copy"), (true, "keep")] {
        let folder = World::folders();
        fs::create_dir_all(folder.path().join("here/got")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("here/mine"), "mine").unwrap();
        // Under strace and load, a program may be slow.
        let idle = Duration::from_secs(30);
        let world = World::enduring(folder, idle, move |connection| serve_evil(connection, adds));
        let log = world.folder.path().join("log");
        let url = world.url("tree");
        let rpcp = world.rpcp(&["-r", "--no-path-memory", "--links", links, &url, "got"]);
        let output = expect(1, recording(&rpcp, &log).output().unwrap());
        let said = stderr(&output);
        assert!(!said.contains('\x1b') && !said.contains('\x07'), "{said}");
        assert_beneath(&world.here("got"), &written(&log));
        assert_eq!(names(&world.folder.path().join("outside")), [""; 0]);
        assert_eq!(names(&world.here("")), ["got", "mine"]);
        assert!(!world.here("got/unasked").exists());
        if !adds {
            let special = world.here("got/tree/special");
            assert_eq!(fs::read(&special).unwrap(), b"planted");
            assert_eq!(special.metadata().unwrap().permissions().mode() & 0o7000, 0);
            assert!(
                said.contains(" not copied, listed above"),
                "the rest went on: {said}"
            );
        }
    }
}

/// A client that says what no honest one does; gives the statuses of the answers.
async fn attack(connection: &Connection) -> Vec<Status> {
    let paths = [
        "out/new",
        "abs/tmp/new",
        "../new",
        "/new",
        "a/../../new",
        "line\nfeed",
        "out",
    ];
    let mut answers = Vec::new();
    for path in paths {
        let path = path.as_bytes().to_vec();
        let recursive = true;
        for request in [
            Message::Get(Get {
                path: [&path[..], b"/secret"].concat(),
                ..Get::default()
            }),
            Message::List(List {
                path: [&path[..], b"/."].concat(),
                ..List::default()
            }),
            Message::List(List {
                path: path.clone(),
                pattern: b"*".to_vec(),
                ..List::default()
            }),
            Message::MakeFolder(MakeFolder {
                path: [&path[..], b"/made"].concat(),
            }),
            Message::Remove(Remove {
                path: [&path[..], b"/secret"].concat(),
                recursive,
            }),
        ] {
            let mut control = Control::open(connection).await;
            control.send(request).await;
            let mut status = None;
            while let Some(message) = control.next().await {
                match message {
                    Message::Entry(entry) => status = entry.failure.map(|why| why.status),
                    Message::Done(done) => status = status.or(Some(done.status)),
                    _ => {}
                }
            }
            answers.push(status.unwrap());
        }
        answers.push(attack_by_writing(connection, &path).await);
    }
    answers
}

/// Puts what no honest client does at `path`; gives the status of the last answer.
async fn attack_by_writing(connection: &Connection, path: &[u8]) -> Status {
    let mut data = connection.open_uni().await.unwrap();
    let mut control = Control::open(connection).await;
    let mut bytes = Vec::new();
    for (entry, content) in [
        (link(b"l", b"../../outside"), &b""[..]),
        (file(b"l/new"), b"planted"),
        (file(b"../new"), b"planted"),
    ] {
        Message::Entry(entry).encode(&mut bytes);
        bytes.extend(content);
    }
    control
        .send(Message::PutBatch(PutBatch {
            stream: data.id().into_inner(),
            path: path.to_vec(),
            ..PutBatch::default()
        }))
        .await;
    let _ = data.write_bytes(bytes.into()).await;
    let _ = data.finish();
    while control.next().await.is_some() {}
    let mut data = connection.open_uni().await.unwrap();
    let mut control = Control::open(connection).await;
    let path = format!("{}/new", String::from_utf8_lossy(path));
    control.send(put(&data, &path)).await;
    control.send(digest(b"planted")).await;
    let _ = data.write_bytes(b"planted"[..].into()).await;
    let _ = data.finish();
    loop {
        if let Message::Done(done) = control.next().await.unwrap() {
            return done.status;
        }
    }
}

#[test]
fn a_hostile_client_touches_nothing_outside_of_the_root() {
    let mut log = PathBuf::new();
    let mut server = Server::start(|command| {
        let folder = command.get_current_dir().unwrap();
        log = folder.join("log");
        recording(command, &log)
    });
    let outside = server.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "theirs").unwrap();
    symlink("../outside", server.root("out")).unwrap();
    symlink("/", server.root("abs")).unwrap();
    fs::write(server.folder.path().join("here/file"), "text").unwrap();
    let output = server.rpcp(&["file", &server.url("file")]);
    expect(0, output);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answers = runtime.block_on(async { attack(&server.connect().await).await });
    assert!(
        answers.iter().all(|status| *status != Status::Ok),
        "{answers:?}"
    );
    assert_eq!(names(&outside), ["secret"]);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"theirs");
    server.kill();
    // The control socket and the like are made before anybody is let in.
    let is_control = |path: &PathBuf| path.to_str().unwrap().contains("rapidpath");
    let (_, written): (Vec<_>, Vec<_>) = written(&log).into_iter().partition(is_control);
    assert_beneath(&server.root(""), &written);
}

/// Puts a link to `outside` in the place of `path` and takes it away again, until told to stop.
fn swap(path: &Path, outside: &Path, stop: &AtomicBool) {
    let (kept, evil) = (path.with_extension("kept"), path.with_extension("evil"));
    symlink(outside, &evil).unwrap();
    while !stop.load(Ordering::Relaxed) {
        // What is not there at the moment cannot be moved.
        let _ = fs::rename(path, &kept);
        let _ = fs::rename(&evil, path);
        let _ = fs::rename(path, &evil);
        let _ = fs::rename(&kept, path);
    }
}

#[test]
fn somebody_who_swaps_folders_for_links_beside_a_copy_gets_nothing_out() {
    let world = World::new();
    let outside = world.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for at in [world.root("tree/sub"), world.here("mine/sub")] {
        fs::create_dir_all(&at).unwrap();
        for index in 0..200 {
            fs::write(at.join(index.to_string()), vec![b'x'; index * 10]).unwrap();
        }
    }
    for (path, from, to) in [
        (
            world.here("got/tree/sub"),
            world.url("tree"),
            "got".to_owned(),
        ),
        (
            world.root("got/mine/sub"),
            "mine".to_owned(),
            world.url("got"),
        ),
    ] {
        fs::create_dir_all(&path).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| swap(&path, &outside, &stop));
            for _ in 0..8 {
                let output = world.rpcp(&["-r", "--no-path-memory", &from, &to]).output();
                let code = output.unwrap().status.code();
                assert!(matches!(code, Some(0 | 1 | 4)), "{code:?}");
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(names(&outside), [""; 0]);
    }
}
