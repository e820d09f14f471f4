//! What file systems and sandboxes refuse: the system calls of a copy, each with the errors it is known
//! to answer, and whether that is nothing, a warning or a failure. `strace` does the refusing.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use rp_cli::{identity, openssh, prompt::Nobody};
use rp_protocol::Connection;
use tempfile::TempDir;

use self::Outcome::{Fails, Silent, Warns};
use crate::world::{World, before, connect, content, names, stderr};

/// What a refusal makes of a copy.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// Nothing that anybody would notice.
    Silent,
    /// The file is copied, and a line with these words says what is amiss.
    Warns(&'static str),
    /// The exit code, and the names in the folder afterwards.
    Fails(i32, &'static [&'static str]),
}

/// System calls that do the same, the errors they are refused with, and what comes of it.
type Row = (&'static str, &'static [&'static str], Outcome);

/// In place of an error: the call succeeds and does nothing; the first time only.
const PRETENDED: &str = "retval=0";
const PRETENDED_ONCE: &str = "retval=0:when=1";

const NOTHING: &[&str] = &[];
const PARTIAL: &[&str] = &[".out.rp-partial"];

/// What the receiver of a file calls.
const RECEIVER: &[Row] = &[
    (
        "fchmod",
        &[
            "EPERM",
            "EACCES",
            "EOPNOTSUPP",
            "ENOSYS",
            "EINVAL",
            "EROFS",
            PRETENDED,
        ],
        Warns("set its permissions"),
    ),
    (
        "utimensat",
        &[
            "EPERM",
            "EACCES",
            "EOPNOTSUPP",
            "ENOSYS",
            "EINVAL",
            PRETENDED,
        ],
        Warns("set its time"),
    ),
    ("utimensat", &[PRETENDED_ONCE], Silent),
    (
        "flock",
        &["ENOLCK", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EPERM", "EIO"],
        Warns("lock it against a second copy"),
    ),
    ("flock", &["EAGAIN"], Fails(1, PARTIAL)),
    (
        "fsync",
        &["EINVAL", "ENOSYS", "EOPNOTSUPP", "EPERM", "EACCES"],
        Warns("say when it is on the disk"),
    ),
    ("fsync", &["EIO"], Fails(1, PARTIAL)),
    ("fsync", &["ENOSPC", "EDQUOT"], Fails(6, NOTHING)),
    (
        "fallocate",
        &["EPERM", "EOPNOTSUPP", "ENOSYS", "EINVAL", "ENODEV", "EIO"],
        Silent,
    ),
    (
        "fallocate",
        &["ENOSPC", "EDQUOT", "EFBIG"],
        Fails(6, NOTHING),
    ),
    ("ftruncate", &["EPERM", "EINVAL", "ENOSYS"], Silent),
    (
        "fstatfs",
        &["EPERM", "EACCES", "ENOSYS", "EOPNOTSUPP"],
        Silent,
    ),
    ("statx", &["ENOSYS", "EPERM"], Silent),
    (
        "rename,renameat,renameat2",
        &[
            "EPERM",
            "EACCES",
            "EOPNOTSUPP",
            "ENOSYS",
            "EINVAL",
            "EXDEV",
            "EBUSY",
        ],
        Warns("rename it"),
    ),
    (
        "rename,renameat,renameat2,link,linkat",
        &["EOPNOTSUPP"],
        Fails(1, PARTIAL),
    ),
    (
        "rename,renameat,renameat2,link,linkat",
        &["EPERM"],
        Fails(5, PARTIAL),
    ),
    ("pwrite64", &["EIO"], Fails(1, PARTIAL)),
    (
        "pwrite64",
        &["ENOSPC", "EDQUOT", "EFBIG"],
        Fails(6, NOTHING),
    ),
];

/// What the sender of a file calls.
const SENDER: &[Row] = &[
    ("fadvise64", &["EPERM", "EINVAL", "ENOSYS", "EBADF"], Silent),
    ("statx", &["ENOSYS", "EPERM"], Silent),
];

/// `command` with the system calls `calls` refused with `errno`, or treated as it says in strace's words; strace
/// writes them to `log`.
fn refusing(command: &Command, calls: &str, errno: &str, log: &str) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "--seccomp-bpf", "-o", log]);
    strace.args(["-e", &format!("trace={calls}")]);
    let how = match errno.starts_with('E') {
        true => format!("error={errno}"),
        false => errno.to_owned(),
    };
    strace.args(["-e", &format!("inject={calls}:{how}")]);
    before(strace, command)
}

/// Expects `outcome`, and that the calls were made at all.
fn check(output: &Output, folder: &[String], log: &str, outcome: Outcome) {
    let said = stderr(output);
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("(INJECTED)"), "never called: {log}{said}");
    match outcome {
        Silent => {
            assert_eq!((output.status.code(), said.as_str()), (Some(0), ""));
            assert_eq!(folder, ["out"]);
        }
        Warns(words) => {
            assert_eq!(output.status.code(), Some(0), "{said}");
            assert!(said.contains("warning: ") && said.contains(words), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert_eq!(folder, ["out"]);
        }
        Fails(code, left) => {
            assert_eq!(output.status.code(), Some(code), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
            assert_eq!(folder, left, "{said}");
        }
    }
}

#[test]
fn what_a_receiving_rpcp_is_refused_is_a_warning_unless_it_is_a_danger() {
    //= spec/20-copy.md#files
    //= type=test
    //# Where the file system does not rename, a partial file MAY get its name by a hard link if no
    //# file bears it yet.
    //= spec/20-copy.md#files
    //= type=test
    //# A receiver MUST make the data durable before it renames the partial file, where the file
    //# system can.
    //= spec/20-copy.md#files
    //= type=test
    //# A file system that cannot set the mode or the time of a file, lock it or make it durable is
    //# no reason to fail a copy.
    let world = World::new();
    fs::write(world.root("file"), content(300_000)).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let source = fs::File::options().append(true).open(world.root("file"));
    source.unwrap().set_modified(old).unwrap();
    for &(calls, errnos, outcome) in RECEIVER {
        for errno in errnos {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("out");
            let rpcp = world.rpcp(&["-p", "--no-path-memory", &world.url("file")]);
            let mut rpcp = refusing(&rpcp, calls, errno, "../log");
            let output = rpcp.arg(&out).output().unwrap();
            println!("{calls} {errno}: {outcome:?}");
            let log = world.folder.path().join("log");
            check(
                &output,
                &names(folder.path()),
                log.to_str().unwrap(),
                outcome,
            );
            if matches!(outcome, Silent | Warns(_)) {
                assert_eq!(fs::read(&out).unwrap(), content(300_000));
            }
            if matches!(outcome, Silent) && calls != "statx" {
                assert_eq!(out.metadata().unwrap().modified().unwrap(), old);
            }
        }
    }
}

#[test]
fn what_a_sending_rpcp_is_refused_is_no_failure() {
    let world = World::new();
    fs::write(world.here("file"), content(300_000)).unwrap();
    for &(calls, errnos, outcome) in SENDER {
        for errno in errnos {
            let rpcp = world.rpcp(&["--no-path-memory", "file", &world.url("out")]);
            let output = refusing(&rpcp, calls, errno, "../log").output().unwrap();
            println!("{calls} {errno}: {outcome:?}");
            let log = world.folder.path().join("log");
            let folder = names(&world.root(""));
            check(&output, &folder, log.to_str().unwrap(), outcome);
            assert_eq!(fs::read(world.root("out")).unwrap(), content(300_000));
            fs::remove_file(world.root("out")).unwrap();
        }
    }
}

/// `rpserver` as a program, started by another one.
pub(crate) struct Server {
    pub(crate) folder: TempDir,
    child: Child,
    address: String,
    fingerprint: String,
}

impl Server {
    /// Has `wrap` make the command that runs the one it is given.
    pub(crate) fn start(wrap: impl FnOnce(&Command) -> Command) -> Self {
        let folder = World::folders();
        let path = |name: &str| folder.path().join(name);
        let key = identity::load_or_make_host_key(&path("id"), &Nobody).unwrap();
        identity::load_or_make_host_key(&path("host_key"), &Nobody).unwrap();
        let line = openssh::format_key(&key.identity.public_key());
        fs::write(path("authorized_keys"), line + "\n").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rpserver"));
        command
            .current_dir(folder.path())
            .env("HOME", folder.path());
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--key",
            "host_key",
            "--root",
            "root",
        ]);
        command.args(["--authorized-keys", "authorized_keys"]);
        let mut command = wrap(&command);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.process_group(0).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut address, mut fingerprint) = (String::new(), String::new());
        for line in lines {
            let line = line.unwrap();
            if let Some(rest) = line.strip_prefix("host key ") {
                fingerprint = rest.split(' ').next().unwrap().to_owned();
            } else if let Some(rest) = line.strip_prefix("listening on ") {
                rest.clone_into(&mut address);
                break;
            }
        }
        Self {
            folder,
            child,
            address,
            fingerprint,
        }
    }

    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    pub(crate) fn rpcp(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
        command.current_dir(self.folder.path().join("here"));
        command.args(["-i", "../id", "--no-path-memory"]);
        command.args(["--host-key", &self.fingerprint]).args(args);
        command.stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rp://{}/{path}", self.address)
    }

    /// A connection as the user, to say anything on.
    pub(crate) async fn connect(&self) -> Connection {
        connect(self.folder.path(), self.address.parse().unwrap()).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Ends it; its folder stays.
    pub(crate) fn kill(&mut self) {
        // strace alone would leave the server behind.
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_that_is_refused_everything_that_is_no_danger_still_takes_and_gives_files() {
    //= spec/20-copy.md#status
    //= type=test
    //# A receiver SHOULD say in the text of its Done what its file system could not do for a file
    //# that is whole.
    let calls = "fchmod,utimensat,flock,fsync,fallocate,ftruncate,fstatfs,fadvise64,openat2";
    let server = Server::start(|command| refusing(command, calls, "EPERM", "log"));
    let bytes = content(300_000);
    let source = server.folder.path().join("here/file");
    fs::write(&source, &bytes).unwrap();
    // Not the time at which the copy is written.
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = fs::File::options().write(true).open(&source).unwrap();
    file.set_modified(past).unwrap();
    for _ in 0..2 {
        let output = server.rpcp(&["-p", "file", &server.url("out")]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(
            said,
            "rpcp: warning: out: copied, but its file system cannot lock it against a second copy, \
             set its permissions, set its time or say when it is on the disk\n"
        );
        assert_eq!(names(&server.root("")), ["out"]);
        assert_eq!(fs::read(server.root("out")).unwrap(), bytes);
    }
    let output = server.rpcp(&[&server.url("out"), "back"]);
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), "")
    );
    let log = fs::read_to_string(server.folder.path().join("log")).unwrap();
    for call in calls.split(',') {
        let refused =
            |line: &str| line.contains(&format!(" {call}(")) && line.ends_with("(INJECTED)");
        assert!(log.lines().any(refused), "{call} was never called");
    }
}

#[test]
fn a_server_whose_disk_takes_long_says_that_it_works_and_is_waited_for() {
    //= spec/20-copy.md#silence
    //= type=test
    //# A side that is busy on its own, and has sent nothing for 10 seconds, MUST send Working.
    // Longer than `--timeout` lets a side be silent, and less than that after the first Working.
    let late = "delay_enter=17000000:when=1";
    let server = Server::start(|command| refusing(command, "fsync", late, "log"));
    let bytes = content(300_000);
    fs::write(server.folder.path().join("here/file"), &bytes).unwrap();
    let output = server.rpcp(&["--timeout", "14", "file", &server.url("out")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let log = fs::read_to_string(server.folder.path().join("log")).unwrap();
    assert!(log.contains("(DELAYED)"), "{log}");
    assert_eq!(fs::read(server.root("out")).unwrap(), bytes);
}

#[test]
fn a_file_beyond_the_size_limit_of_the_server_fails_alone() {
    let server = Server::start(|command| {
        let mut limited = Command::new("sh");
        // In blocks of 512 or 1024 bytes.
        limited.args(["-c", "ulimit -f 1000; exec \"$@\"", "sh"]);
        limited.arg(command.get_program()).args(command.get_args());
        limited.current_dir(command.get_current_dir().unwrap());
        limited
    });
    let big = server.folder.path().join("here/big");
    fs::write(&big, content(3_000_000)).unwrap();
    let output = server.rpcp(&["big", &server.url("big")]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("big: File too large"), "{said}");
    assert_eq!(names(&server.root("")), [""; 0]);
    fs::write(server.folder.path().join("here/small"), "small").unwrap();
    let output = server.rpcp(&["small", &server.url("small")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_files_of_a_batch_are_on_the_disk_before_one_takes_its_name() {
    //= spec/20-copy.md#batches
    //= type=test
    //# With durability batch a receiver MUST make the content of all files of a batch durable before one of
    //# them takes its name.
    let world = World::new();
    fs::create_dir(world.root("tree")).unwrap();
    for index in 0..10 {
        fs::write(world.root("tree").join(index.to_string()), content(500)).unwrap();
    }
    for (how, synced) in [("batch", true), ("none", false)] {
        let rpcp = world.rpcp(&[
            "-r",
            "--no-path-memory",
            "--fsync",
            how,
            &world.url("tree"),
            how,
        ]);
        // Nothing is refused, and the calls are written down.
        let calls = "syncfs,fsync,fdatasync,renameat,renameat2,rename";
        let mut rpcp = refusing(&rpcp, calls, "delay_enter=0", "../log");
        let output = rpcp.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let log = fs::read_to_string(world.folder.path().join("log")).unwrap();
        let lines: Vec<_> = log.lines().collect();
        let first = |call: &str| lines.iter().position(|line| line.contains(call));
        let renamed = first(".rp-partial").unwrap();
        assert_eq!(
            first("syncfs(").is_some_and(|at| at < renamed),
            synced,
            "{log}"
        );
        assert_eq!(first("sync").is_some(), synced, "{log}");
    }
}

#[test]
fn what_arrived_is_on_the_disk_before_the_journal_says_so() {
    //= spec/20-copy.md#resuming
    //= type=test
    //# A receiver MUST make the data of a group durable before it writes the group into the journal.
    // Nothing is refused, and the calls are written down.
    let calls = "fdatasync,openat";
    let server = Server::start(|command| refusing(command, calls, "delay_enter=0", "log"));
    let source = server.folder.path().join("here/file");
    fs::write(source, content(16 << 20)).unwrap();
    // So slow that the journal is begun before all is there.
    let output = server.rpcp(&["--rate", "60M", "file", &server.url("out")]);
    assert!(output.status.success(), "{}", stderr(&output));
    let log = fs::read_to_string(server.folder.path().join("log")).unwrap();
    let first = |parts: [&str; 2]| {
        let mut lines = log.lines();
        lines.position(|line| parts.iter().all(|part| line.contains(part)))
    };
    let durable = first(["fdatasync", "= 0"]).expect(&log);
    let begun = first([".rp-journal", "O_CREAT"]).expect(&log);
    assert!(durable < begun, "{log}");
}
