//! How long the first byte of a small GET takes over a long path: plain TCP, and through our programs by each
//! front end. The set-up is here; what runs at the near side of the clients, and takes the times, is in `ask`.

pub mod ask;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use rp_protocol::units::Bandwidth;

use self::ask::{Answers, Way};
use crate::{
    implementation::{Invocation, Kit, Ready, Recipe, Side, Stage},
    leftovers,
    link::LinkConfig,
    netns,
    scenario::Scenario,
    threshold::Row,
    tun::{NEAR, TunLab},
};

/// Ports of the web server, of the exit, of the front ends that wait for the dial and those that do not.
const WEB: u16 = 7410;
const EXIT: u16 = 7411;
const HONEST: u16 = 7412;
const OPTIMISTIC: u16 = 7413;

/// What is added to the round trips: our own work on both sides.
const WORK: Duration = Duration::from_millis(5);

/// Longest time for one request, its program's start included.
const LONGEST: Duration = Duration::from_secs(1);

/// What is measured how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Without queues.
    pub round_trip: Duration,
    /// Requests of each kind, of which the median counts.
    pub requests: usize,
    /// Of the link.
    pub rate: Bandwidth,
}

/// Measures all ways in.
///
/// # Errors
/// There is no root, or a program fails.
pub fn run(options: &Options, kit: &Kit) -> anyhow::Result<Vec<Row>> {
    if let Some(reason) = netns::unavailable() {
        anyhow::bail!("no namespaces: {reason}");
    }
    ensure!(options.requests > 0, "no requests to take a median of");
    leftovers::clean()?;
    let link = LinkConfig::new(options.rate, options.round_trip / 2).mtu(1500);
    let scenario = Scenario {
        name: "first-byte".to_owned(),
        about: "a long path without loss".to_owned(),
        forward: link.clone(),
        back: link,
        cross: Vec::new(),
        budget: None,
    };
    let stage = Stage::<TunLab>::set(kit, &scenario, 1, false)?;
    let out = stage.folder().join("first-byte.json");
    let recipe = recipe(options, kit, &stage, &out)?;
    let mut run = stage.begin(&recipe, "0")?;
    run.start(&stage, &recipe)?;
    let requests = u32::try_from(options.requests * Way::ALL.len()).unwrap_or(u32::MAX);
    run.wait(LONGEST.saturating_mul(requests))?;
    let text = std::fs::read(&out).context("the client left no answers")?;
    let answers: Answers = serde_json::from_slice(&text)?;
    Ok(answers
        .medians
        .iter()
        .map(|(way, median)| row(*way, *median, options.round_trip))
        .collect())
}

fn row(way: Way, median: Duration, round_trip: Duration) -> Row {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    match way.round_trips() {
        Some(count) => Row::at_most(
            way.name(),
            millis(median),
            millis(round_trip * count + WORK),
            "ms",
        ),
        None => Row::told(way.name(), millis(median), "ms"),
    }
}

/// The web server and the exit at one side, the front ends and whoever asks at the other.
fn recipe(
    options: &Options,
    kit: &Kit,
    stage: &Stage<TunLab>,
    out: &std::path::Path,
) -> anyhow::Result<Recipe> {
    let (programs, keys) = (kit.programs()?, kit.keys()?);
    let page = stage.folder().join("page");
    std::fs::write(&page, "hi")?;
    let web = Invocation::new(Side::Near, kit.lab())
        .args(["peer", "web", "--port", &WEB.to_string()])
        .arg(&page);
    let exit = Invocation::new(Side::Near, &programs.rpserver)
        .args(["--listen", &format!("{NEAR}:{EXIT}")])
        .arg("--key")
        .arg(&keys.host)
        .arg("--authorized-keys")
        .arg(&keys.authorized)
        .args(["--allow", "127.0.0.0/8"]);
    let control = stage.folder().join("rpclient.sock");
    let front_end = |port: u16, control: PathBuf| {
        Invocation::new(Side::Far, &programs.rpclient)
            .args(["--server", &format!("{NEAR}:{EXIT}")])
            .args(["--host-key", &keys.fingerprint, "--no-path-memory"])
            .args(["--listen", &format!("127.0.0.1:{port}"), "--control"])
            .arg(control)
            .arg("-i")
            .arg(&keys.user)
    };
    let before = vec![
        (web, Ready::Port(WEB)),
        (exit, Ready::Port(EXIT)),
        (front_end(HONEST, control.clone()), Ready::Port(HONEST)),
        (
            front_end(OPTIMISTIC, "off".into()).arg("--optimistic"),
            Ready::Port(OPTIMISTIC),
        ),
    ];
    let client = Invocation::new(Side::Far, kit.lab())
        .args(["peer", "first-byte"])
        .args(["--direct", &format!("{NEAR}:{WEB}")])
        .args(["--target", &format!("127.0.0.1:{WEB}")])
        .args(["--honest", &format!("127.0.0.1:{HONEST}")])
        .args(["--optimistic", &format!("127.0.0.1:{OPTIMISTIC}")])
        .arg("--rpclient")
        .arg(&programs.rpclient)
        .arg("--control")
        .arg(&control)
        .args(["--requests", &options.requests.to_string(), "--out"])
        .arg(out);
    Ok(Recipe::untold(before, client))
}
