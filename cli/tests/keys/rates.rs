//! What the rate of a key holds: all its connections together, each way. Nothing is ever too early,
//! whatever else the machine does.

use std::{
    fs,
    time::{Duration, Instant},
};

use super::World;

/// Two megabytes a second.
const LINE: &str = "rate=\"16M\" ";

/// What each of two copies carries.
const BYTES: usize = 2_000_000;

/// The least time both need together: less the burst, and what was under way before the key was known.
const LEAST: Duration = Duration::from_millis(1800);

#[test]
fn rate_of_a_key_holds_for_its_connections_together_each_way() {
    let world = World::with(LINE);
    let content: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
    fs::write(world.path("file"), &content).unwrap();
    fs::write(world.path("root/file"), &content).unwrap();
    let up = [("file", world.url("a")), ("file", world.url("b"))];
    let down = [(world.url("file"), "a"), (world.url("file"), "b")];
    let up = up.map(|(from, to)| world.rpcp(from, &to));
    let down = down.map(|(from, to)| world.rpcp(&from, to));
    for both in [up, down] {
        let start = Instant::now();
        let copies = both.map(|mut rpcp| rpcp.spawn().unwrap());
        for mut copy in copies {
            assert!(copy.wait().unwrap().success());
        }
        let elapsed = start.elapsed();
        assert!(elapsed >= LEAST, "{elapsed:?}");
    }
    for name in ["a", "b", "root/a", "root/b"] {
        assert!(fs::read(world.path(name)).unwrap() == content, "{name}");
    }
}
