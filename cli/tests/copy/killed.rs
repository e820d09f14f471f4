//! Copies of trees whose programs are killed on the way: what is finished is not copied again.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    programs,
    trees::tree,
    world::{Wire, content, stderr},
};

/// Bytes a second of the way.
const RATE: u64 = 8_000_000;

/// The same as it is typed.
const RATE_TYPED: &str = "8MB/s";

/// What is copied again at most after a sudden end: what came in a second and a half, and what was under way.
const AGAIN: u64 = RATE * 3 / 2 + (8 << 20);

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Client,
    Server,
    Both,
}

/// A tree with a way to a server that can be killed.
struct Scene {
    world: programs::World,
    wire: Wire,
    pushes: bool,
}

impl Scene {
    fn new(pushes: bool) -> Self {
        let world = programs::World::serving(&[]);
        for name in ["near", "root"] {
            fs::create_dir(world.path(name)).unwrap();
        }
        let port = world.address.rsplit(':').next().unwrap().parse().unwrap();
        let wire = Wire::between(port, Duration::ZERO);
        let mut scene = Self {
            world,
            wire,
            pushes,
        };
        plant(&scene.source());
        scene.restart_server();
        scene
    }

    fn source(&self) -> std::path::PathBuf {
        let at = if self.pushes {
            "near/tree"
        } else {
            "root/tree"
        };
        self.world.path(at)
    }

    /// Named as nothing is called yet: a copy that goes on does not take it for a folder to copy into.
    fn destination(&self) -> std::path::PathBuf {
        let at = if self.pushes { "root/new" } else { "near/new" };
        self.world.path(at)
    }

    fn restart_server(&mut self) {
        self.world.server.kill();
        let root = self.world.path("root");
        let args = ["--root", root.to_str().unwrap(), "--rate", RATE_TYPED];
        self.world.start_server_with(&args);
    }

    fn client(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rpcp"));
        command.env("HOME", self.world.folder.path());
        command.current_dir(self.world.path("near"));
        command.arg("-i").arg(self.world.path("id"));
        command.args(["--host-key", &self.world.fingerprint, "--stats", "-r"]);
        let remote = |path: &str| format!("rp://127.0.0.1:{}/{path}", self.wire.port);
        if self.pushes {
            command.args(["--rate", RATE_TYPED, "tree", &remote("new")]);
        } else {
            command.args([&remote("tree"), "new"]);
        }
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Kills when so many bytes have come; says how many were whole under their names by then.
    fn kill(&mut self, mut client: Child, victim: Victim, at: u64) -> u64 {
        let begun = Instant::now();
        while size(&self.destination(), true) < at {
            assert!(client.try_wait().unwrap().is_none(), "over before {at}");
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
        if let Victim::Server | Victim::Both = victim {
            self.world.server.kill();
        }
        if let Victim::Client | Victim::Both = victim {
            client.kill().unwrap();
        }
        let whole = size(&self.destination(), false);
        if let Victim::Server | Victim::Both = victim {
            // The client would wait for a server that says nothing.
            client.kill().unwrap();
            self.restart_server();
        }
        client.wait().unwrap();
        whole
    }
}

/// Many small files, and some that go by themselves: 20 MB.
fn plant(folder: &Path) {
    for index in 0..900_usize {
        let within = folder.join((index % 7).to_string());
        fs::create_dir_all(&within).unwrap();
        fs::write(within.join(index.to_string()), content(9_000 + index % 11)).unwrap();
    }
    for index in 0..3_usize {
        fs::write(
            folder.join(format!("large{index}")),
            content((4 << 20) + index),
        )
        .unwrap();
    }
}

/// Bytes in a folder that may change: of all files, or of those that have their names.
fn size(folder: &Path, with_partial: bool) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| {
        let is_under_way = entry.file_name().as_encoded_bytes().starts_with(b".");
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path(), with_partial),
            Ok(metadata) if with_partial || !is_under_way => metadata.len(),
            _ => 0,
        }
    });
    sizes.sum()
}

fn check(pushes: bool, kills: &[(Victim, u64)]) {
    let mut scene = Scene::new(pushes);
    let all = size(&scene.source(), true);
    let mut whole = 0;
    for &(victim, at) in kills {
        let client = scene.client().spawn().unwrap();
        whole = scene.kill(client, victim, all * at / 100);
    }
    let output = scene.client().output().unwrap();
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    let said = text.lines().find(|line| line.contains("were there from"));
    let there = said.map_or(0, |line| {
        line.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    assert!(there + AGAIN / 2 >= whole, "{there} of {whole}: {text}");
    assert!(there > all / 4, "{there} of {all}: {text}");
    // Nothing is there but the tree: no journal, no partial file.
    assert!(tree(&scene.source()) == tree(&scene.destination()));
    let carried = scene.wire.carried.load(Ordering::Relaxed);
    // A tenth is for headers and acknowledgments.
    let most = all * 21 / 20 + kills.len() as u64 * AGAIN;
    assert!(carried <= most * 11 / 10, "{carried} of {most}");
}

#[test]
fn a_tree_that_is_sent_goes_on_whoever_is_killed() {
    check(
        true,
        &[
            (Victim::Client, 35),
            (Victim::Server, 55),
            (Victim::Both, 75),
        ],
    );
}

#[test]
fn a_tree_that_is_fetched_goes_on_whoever_is_killed() {
    check(
        false,
        &[
            (Victim::Server, 35),
            (Victim::Client, 55),
            (Victim::Both, 75),
        ],
    );
}
