//! `host:path`: a real ssh and sshd start the far side, as a user's would.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use tempfile::TempDir;

use crate::{
    trees::{plant, tree},
    world::{World, content, expect, names, stderr},
};

/// A machine with sshd, reached by the names `far`, `far6` and, through another sshd, `hidden`.
pub(crate) struct Far {
    folder: TempDir,
    port: u16,
    /// Of another sshd of it.
    gate: u16,
}

impl Far {
    /// One whose shells find our `rpcp`; `None`, with a word, where there is no sshd.
    pub(crate) fn new() -> Option<Self> {
        let bin = Path::new(env!("CARGO_BIN_EXE_rpcp")).parent().unwrap();
        Self::with_path(&format!("{}:/usr/bin:/bin", bin.display()))
    }

    /// One whose shells look for programs in `path`.
    pub(crate) fn with_path(path: &str) -> Option<Self> {
        let sshd = Path::new("/usr/sbin/sshd");
        if !sshd.exists() || !has("ssh") || !has("ssh-keygen") {
            println!("SKIPPED host:path over ssh: openssh-server is missing");
            return None;
        }
        // What the package's service makes when it starts; without root it is not asked for.
        let _ = fs::create_dir_all("/run/sshd");
        let folder = World::folders();
        let at = |name: &str| folder.path().join(name);
        for name in ["user", "host"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            assert!(keygen.arg(at(name)).status().unwrap().success());
        }
        fs::copy(at("user.pub"), at("authorized")).unwrap();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nSetEnv PATH={path} HOME={}\n",
            at("host").display(),
            at("authorized").display(),
            at("root").display(),
        );
        fs::write(at("sshd_config"), config).unwrap();
        let port = listen("127.0.0.1:0", &at("sshd_config")).unwrap();
        let gate = listen("127.0.0.1:0", &at("sshd_config")).unwrap();
        let port6 = listen("[::1]:0", &at("sshd_config")).unwrap_or(0);
        let config = format!(
            "Host far hidden\n HostName 127.0.0.1\n Port {port}\nHost hidden\n ProxyJump gate\n\
             Host gate\n HostName 127.0.0.1\n Port {gate}\nHost far6\n HostName ::1\n Port {port6}\n\
             Host *\n UserKnownHostsFile {}\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n",
            at("known").display(),
        );
        fs::write(at("ssh_config"), &config).unwrap();
        let config = format!(
            "{config} IdentityFile {}\n IdentitiesOnly yes\n",
            at("user").display()
        );
        fs::write(at("ssh_config_with_key"), config).unwrap();
        Some(Self { folder, port, gate })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn here(&self, name: &str) -> PathBuf {
        self.at("here").join(name)
    }

    fn root(&self, name: &str) -> PathBuf {
        self.at("root").join(name)
    }

    /// `HOST:PATH` of something in the far root.
    pub(crate) fn to(&self, host: &str, name: &str) -> OsString {
        let mut location = OsString::from(format!("{host}:"));
        location.push(self.root(name));
        location
    }

    /// `rpcp` with this configuration of ssh.
    pub(crate) fn rpcp(&self, config: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
        command
            .current_dir(self.at("here"))
            .env("HOME", self.folder.path())
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null());
        command.arg("-F").arg(self.at(config));
        command
    }

    pub(crate) fn run(&self, code: i32, args: &[OsString]) -> Output {
        let mut command = self.rpcp("ssh_config_with_key");
        expect(code, command.args(args).output().unwrap())
    }
}

fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("-?")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok()
}

/// Starts an sshd for each connection, as inetd does; gives the port.
fn listen(address: &str, config: &Path) -> Option<u16> {
    let listener = TcpListener::bind(address).ok()?;
    let port = listener.local_addr().unwrap().port();
    let config = config.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let output = stream.try_clone().unwrap();
            let mut sshd = Command::new("/usr/sbin/sshd");
            sshd.arg("-i").arg("-f").arg(&config).stderr(Stdio::null());
            sshd.stdin(OwnedFd::from(stream))
                .stdout(OwnedFd::from(output));
            let mut sshd = sshd.spawn().unwrap();
            thread::spawn(move || sshd.wait());
        }
    });
    Some(port)
}

pub(crate) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[test]
fn files_travel_both_ways_over_ssh() {
    let Some(far) = Far::new() else { return };
    let bytes = content(3_000_001);
    fs::write(far.here("file"), &bytes).unwrap();
    fs::create_dir(far.root("sub")).unwrap();
    let output = far.run(0, &["file".into(), far.to("far", "stored")]);
    assert_eq!(stderr(&output), "");
    assert_eq!(fs::read(far.root("stored")).unwrap(), bytes);
    far.run(0, &["file".into(), far.to("far", "sub")]);
    assert_eq!(fs::read(far.root("sub/file")).unwrap(), bytes);
    let output = far.run(
        0,
        &["--checksum".into(), far.to("far", "stored"), "back".into()],
    );
    assert_eq!(fs::read(far.here("back")).unwrap(), bytes);
    let line = format!("{}  stored\n", blake3::hash(&bytes).to_hex());
    assert_eq!(String::from_utf8_lossy(&output.stdout), line);
    let output = far.run(0, &[far.to("far", "stored"), "-".into()]);
    assert_eq!(output.stdout, bytes);
    // ~ is the home that the far side's shell knows.
    far.run(0, &words(&["far:~/stored", "home"]));
    assert_eq!(fs::read(far.here("home")).unwrap(), bytes);
    let output = far.run(4, &[far.to("far", "none"), "x".into()]);
    assert!(stderr(&output).contains("none"), "{}", stderr(&output));
    let output = far.run(1, &[far.to("far", "sub"), "x".into()]);
    assert!(stderr(&output).contains("-r"), "{}", stderr(&output));
    assert_eq!(names(&far.root("")), ["stored", "sub"]);
}

#[test]
fn trees_travel_both_ways_over_ssh() {
    let Some(far) = Far::new() else { return };
    plant(&far.here("tree"));
    let planted = tree(&far.here("tree"));
    let pushed = [words(&["-r", "tree"]), vec![far.to("far", "new")]].concat();
    let output = far.run(0, &pushed);
    assert_eq!(stderr(&output), "");
    assert_eq!(tree(&far.root("new")), planted);
    far.run(0, &pushed);
    assert_eq!(tree(&far.root("new/tree")), planted);
    fs::remove_dir_all(far.root("new/tree")).unwrap();
    let pulled = [words(&["-r"]), vec![far.to("far", "new")], words(&["back"])].concat();
    let output = far.run(0, &pulled);
    assert_eq!(stderr(&output), "");
    assert_eq!(tree(&far.here("back")), planted);
    // Two places of one machine, into a folder.
    fs::create_dir(far.here("both")).unwrap();
    far.run(
        0,
        &[
            far.to("far", "new/larger"),
            far.to("far", "new/a/large"),
            "both".into(),
        ],
    );
    assert_eq!(names(&far.here("both")), ["large", "larger"]);
}

#[test]
fn a_tree_goes_from_one_machine_to_another_and_is_not_stored_here() {
    let Some(far) = Far::new() else { return };
    plant(&far.root("tree"));
    symlink("larger", far.root("tree/link")).unwrap();
    let planted = tree(&far.root("tree"));
    let (from, to) = (far.to("far", "tree"), far.to("hidden", "copy"));
    let typed = [words(&["-r", "-p", "--links", "keep"]), vec![from, to]].concat();
    let output = far.run(0, &typed);
    assert_eq!(stderr(&output), "");
    assert_eq!(tree(&far.root("copy")), planted);
    let times = |name: &str| far.root(name).join("a/b").metadata().unwrap().modified();
    assert_eq!(times("copy").unwrap(), times("tree").unwrap());
    let file = [far.to("far", "tree/larger"), far.to("hidden", "one")];
    far.run(0, &file);
    assert_eq!(
        fs::read(far.root("one")).unwrap(),
        fs::read(far.root("tree/larger")).unwrap()
    );
    let output = far.run(4, &[far.to("far", "none"), far.to("hidden", "two")]);
    assert!(stderr(&output).contains("none"), "{}", stderr(&output));
    let output = far.run(1, &[far.to("far", "tree"), far.to("hidden", "two")]);
    assert!(stderr(&output).contains("-r"), "{}", stderr(&output));
    assert_eq!(names(&far.here("")), [""; 0]);
    assert_eq!(names(&far.root("")), ["copy", "one", "tree"]);
}

#[test]
fn no_shell_sees_a_path() {
    let Some(far) = Far::new() else { return };
    let odd = "a b'c\"$(touch boo)`touch boo`\\;*?~!";
    fs::write(far.here(odd), "odd").unwrap();
    far.run(0, &[format!("./{odd}").into(), far.to("far", "")]);
    assert_eq!(names(&far.root("")), [odd]);
    far.run(0, &[far.to("far", odd), "back".into()]);
    assert_eq!(fs::read(far.here("back")).unwrap(), b"odd");
    let output = far.run(2, &words(&["far:a\nb", "x"]));
    assert!(stderr(&output).contains("control characters"));
    assert!(!far.root("boo").exists());
}

#[test]
fn patterns_are_expanded_at_the_far_side() {
    let Some(far) = Far::new() else { return };
    fs::create_dir(far.root("sub")).unwrap();
    for name in ["a.txt", "b.txt", "c", "sub/d.txt", "[a].txt"] {
        fs::write(far.root(name), name).unwrap();
    }
    far.run(0, &[far.to("far", "?.txt"), ".".into()]);
    assert_eq!(names(&far.here("")), ["a.txt", "b.txt"]);
    fs::create_dir(far.here("x")).unwrap();
    let typed = [words(&["-r"]), vec![far.to("far", "*"), "x".into()]].concat();
    far.run(0, &typed);
    assert_eq!(
        names(&far.here("x")),
        ["[a].txt", "a.txt", "b.txt", "c", "sub"]
    );
    far.run(0, &[far.to("far", "[a].txt"), "y".into()]);
    assert_eq!(fs::read(far.here("y")).unwrap(), b"[a].txt");
    let output = far.run(4, &[far.to("far", "*.none"), ".".into()]);
    assert!(
        stderr(&output).contains("nothing fits"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn agents_jump_hosts_users_ports_and_ipv6_work_as_in_ssh() {
    let Some(far) = Far::new() else { return };
    fs::write(far.here("file"), "text").unwrap();
    let stored = |host: &str| far.to(host, "stored");
    far.run(0, &["file".into(), stored("hidden")]);
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let there = format!("{}@127.0.0.1", user.trim());
    let port = far.port.to_string();
    let typed = [words(&["-P", &port, "file"]), vec![stored(&there)]].concat();
    far.run(0, &typed);
    let gate = format!("{there}:{}", far.gate);
    let typed = [
        words(&["-J", &gate, "-P", &port, "file"]),
        vec![stored(&there)],
    ]
    .concat();
    far.run(0, &typed);
    if TcpListener::bind("[::1]:0").is_ok() {
        far.run(0, &["-6".into(), "file".into(), stored("far6")]);
    }
    // Without a key file only the agent has it.
    let refused = |command: &mut Command| {
        let output = command.args(["-o", "BatchMode=yes", "-o", "IdentityFile=none", "file"]);
        output.arg(stored("far")).output().unwrap()
    };
    let output = expect(3, refused(&mut far.rpcp("ssh_config")));
    assert!(
        stderr(&output).contains("ssh cannot log in"),
        "{}",
        stderr(&output)
    );
    let socket = far.at("agent");
    let agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::piped())
        .spawn();
    let mut agent = Ended(agent.unwrap());
    let mut said = String::new();
    BufReader::new(agent.0.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    let mut add = Command::new("ssh-add");
    add.env("SSH_AUTH_SOCK", &socket)
        .arg("-q")
        .arg(far.at("user"));
    assert!(add.status().unwrap().success());
    let mut command = far.rpcp("ssh_config");
    expect(0, refused(command.env("SSH_AUTH_SOCK", &socket)));
}

/// Ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_user_lists_makes_and_removes_over_ssh_is_there_and_gone() {
    let Some(far) = Far::new() else { return };
    let config = far.at("ssh_config_with_key");
    let run = |code, word: &str, options: &[&str], name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
        command.arg(word).arg("-F").arg(&config).args(options);
        expect(code, command.arg(far.to("far", name)).output().unwrap())
    };
    run(0, "mkdir", &[], "new");
    fs::write(far.root("new/file"), "text").unwrap();
    symlink("new", far.root("link")).unwrap();
    let listed = run(0, "ls", &[], "").stdout;
    assert_eq!(String::from_utf8_lossy(&listed), "link -> new\nnew/\n");
    let listed = run(0, "ls", &[], "new").stdout;
    assert_eq!(String::from_utf8_lossy(&listed), "file\n");
    let listed = run(0, "ls", &[], "new/file").stdout;
    assert_eq!(String::from_utf8_lossy(&listed), "file\n");
    run(0, "rm", &[], "link");
    run(1, "rm", &[], "new");
    run(0, "rm", &["-r"], "new");
    run(4, "rm", &[], "new");
    assert_eq!(names(&far.root("")), [""; 0]);
}

#[test]
fn what_comes_over_ssh_stays_beneath_the_folder_that_was_named() {
    //= spec/20-copy.md#over-ssh
    //= type=test
    //# What a client writes MUST stay beneath the folder that it named.
    let Some(far) = Far::new() else { return };
    for folder in ["target", "outside"] {
        fs::create_dir(far.root(folder)).unwrap();
    }
    fs::create_dir(far.here("tree")).unwrap();
    fs::write(far.here("tree/file"), "text").unwrap();
    // Somebody there has put a link in the way.
    symlink(far.root("outside"), far.root("target/tree")).unwrap();
    let typed = [words(&["-r", "tree"]), vec![far.to("far", "target")]].concat();
    let output = far.run(1, &typed);
    assert!(
        stderr(&output).contains("outside of the shared folder"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(&far.root("outside")), [""; 0]);
    // One that the user names is meant.
    symlink(far.root("outside"), far.root("link")).unwrap();
    let typed = [words(&["-r", "tree"]), vec![far.to("far", "link")]].concat();
    far.run(0, &typed);
    assert_eq!(names(&far.root("outside")), ["tree"]);
}
