//! `rpclient tproxy-setup` and `tproxy-teardown`: have the kernel divert traffic to the `rpclient`
//! that runs, and undo it. What arrives there is `transparent`'s business.
//!
//! 1. `plan` says what is to be diverted and writes the rules, `commands` runs `nft` and `ip`.
//! 2. `self_test` sees whether a connection arrives; if not, everything is removed again.
//! 3. Removing looks at what is there, so it also ends a set-up that was killed half-way.

mod commands;
mod owner;
pub mod plan;
mod self_test;

use std::net::IpAddr;

use rp_proxy::Capture;
use rustix::process::geteuid;

use self::{
    commands::Step,
    plan::{Family, Plan},
    self_test::Finding,
};
use crate::{
    args::{
        client::ClientOptions,
        tproxy::{SetupArgs, TeardownArgs},
    },
    connect::Server,
    exit_code::{ExitCode, Failure},
    run,
    settings::parse,
    transparent::TransparentSettings,
};

/// Diverts what `args` say to the listeners of `options`.
///
/// # Errors
/// Nothing is left of a set-up that failed.
pub async fn set_up(options: ClientOptions, args: SetupArgs) -> Result<(), Failure> {
    let mut plan = plan(&options, &args).await?;
    if let Some(problem) = plan.problem() {
        return Err(Failure::usage(problem));
    }
    let owner = plan
        .listeners
        .iter()
        .find_map(|addr| owner::listener(*addr));
    if plan.user.is_none() {
        plan.user = owner.filter(|user| owner::is_system_user(*user));
    }
    if !args.dry_run {
        check_capability()?;
        if owner.is_none() {
            return Err(Failure::other(format!(
                "nobody listens on {}: start rpclient first, with the same options; \
                 nothing was changed",
                join(plan.listeners.iter())
            )));
        }
        // Of `localhost`, a system without IPv6 has one address.
        plan.listeners
            .retain(|addr| owner::listener(*addr).is_some());
    }
    let steps = steps(&plan)?;
    if args.dry_run {
        steps.iter().for_each(|step| run::say(&step.to_string()));
        return Ok(());
    }
    let done = apply(&steps).and_then(|()| match args.no_test {
        true => Ok(Vec::new()),
        false => test(&plan),
    });
    match done {
        Ok(notes) => {
            tell(&plan, &options, &notes);
            Ok(())
        }
        Err(failure) => Err(roll_back(failure)),
    }
}

/// Removes what [`set_up`] made.
///
/// # Errors
/// A program is missing or refused.
pub fn tear_down(args: TeardownArgs) -> Result<(), Failure> {
    if !args.dry_run {
        check_capability()?;
    }
    let steps = commands::removal()?;
    if args.dry_run {
        steps.iter().for_each(|step| run::say(&step.to_string()));
        return Ok(());
    }
    apply(&steps)?;
    run::say(match steps.is_empty() {
        true => "nothing was set up",
        false => "removed",
    });
    Ok(())
}

async fn plan(options: &ClientOptions, args: &SetupArgs) -> Result<Plan, Failure> {
    let settings = TransparentSettings::new(options)?;
    let capture = match settings.tproxy.is_empty() {
        true => Capture::Redirect,
        false => Capture::Tproxy,
    };
    let servers = servers(options).await?;
    let list = |option: &'static str, texts: &[String]| {
        let parsed = texts.iter().map(|text| parse(option, text));
        parsed.collect::<Result<Vec<plan::Ports>, Failure>>()
    };
    let exclude = args.exclude.iter().map(|text| network(text));
    Ok(Plan {
        capture,
        listeners: settings.addresses(capture).await?,
        host: args.host || args.lan.is_empty(),
        lans: args.lan.clone(),
        servers,
        exclude: exclude.collect::<Result<_, _>>()?,
        exclude_ports: list("exclude-port", &args.exclude_port)?,
        ports: list("ports", &args.ports)?,
        private: args.private,
        user: args.user.as_deref().map(user).transpose()?,
        tcp_only: args.tcp_only,
    })
}

/// All addresses of the servers.
async fn servers(options: &ClientOptions) -> Result<Vec<IpAddr>, Failure> {
    if options.server.is_empty() {
        return Err(Failure::usage(
            "no server: its address is never diverted; give --server as for rpclient",
        ));
    }
    let mut found = Vec::new();
    for text in &options.server {
        let server: Server = parse("server", text)?;
        let addresses = server.addresses().await.map_err(|error| {
            Failure::new(ExitCode::Connect, format!("--server {server}: {error}"))
        })?;
        found.extend(addresses.iter().map(|addr| addr.ip()));
    }
    Ok(found)
}

/// A network, or a single address as one.
fn network(text: &str) -> Result<ipnet::IpNet, Failure> {
    let address = text.parse::<IpAddr>().map(ipnet::IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| Failure::usage(format!("--exclude {text}: not an address or network")))
}

/// The number of a user, named or numbered.
fn user(text: &str) -> Result<u32, Failure> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let unknown = || Failure::usage(format!("--user {text}: there is no such user"));
    let output = std::process::Command::new("id")
        .args(["-u", "--", text])
        .output();
    let output = output.map_err(|error| Failure::other(format!("cannot run id: {error}")))?;
    let number = String::from_utf8_lossy(&output.stdout);
    number.trim().parse().map_err(|_| unknown())
}

/// Everything to be run for `plan`.
fn steps(plan: &Plan) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    if plan.capture == Capture::Tproxy {
        for family in plan.families() {
            steps.extend(commands::routing(family)?);
        }
    }
    // Last: before the routes are there, what is diverted would be lost.
    steps.push(Step::load(plan.rules()));
    Ok(steps)
}

fn check_capability() -> Result<(), Failure> {
    match owner::may_configure() {
        true => Ok(()),
        false => Err(no_capability(geteuid().is_root())),
    }
}

fn no_capability(is_root: bool) -> Failure {
    let how = match is_root {
        true => "give this container CAP_NET_ADMIN",
        false => "run it by sudo",
    };
    let text = format!(
        "netfilter's rules and routes need CAP_NET_ADMIN: {how}; --dry-run shows what it would do"
    );
    Failure::new(ExitCode::Permission, text)
}

fn apply(steps: &[Step]) -> Result<(), Failure> {
    steps.iter().try_for_each(|step| step.run().map(drop))
}

/// Tests each version of IP; notes on what could not be tested.
fn test(plan: &Plan) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    let mut works = false;
    for family in plan.families() {
        match self_test::test(family, plan.takes_udp()) {
            Finding::Works => works = true,
            Finding::NoRoute => notes.push(format!(
                "no route to {}: not tested there",
                family.test_address().ip()
            )),
            Finding::Fails(why) => {
                return Err(Failure::other(format!(
                    "the test failed ({why}): does the rpclient that listens have the same options?"
                )));
            }
        }
    }
    match works {
        true => Ok(notes),
        false => Err(Failure::other(format!(
            "{}; --no-test sets up all the same",
            notes.join("; ")
        ))),
    }
}

fn roll_back(failure: Failure) -> Failure {
    let removed = commands::removal().and_then(|steps| apply(&steps));
    let text = match removed {
        Ok(()) => format!("{failure}; everything was removed again"),
        Err(error) => format!("{failure}; removing it failed, too: {error}"),
    };
    Failure { text, ..failure }
}

fn join(items: impl Iterator<Item = impl ToString>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Says what is diverted, and what the user may not expect.
fn tell(plan: &Plan, options: &ClientOptions, notes: &[String]) {
    let whose = match (plan.host, plan.lans.is_empty()) {
        (true, true) => "this machine".to_owned(),
        (true, false) => format!("this machine and {}", plan.lans.join(", ")),
        (false, _) => plan.lans.join(", "),
    };
    let what = match plan.takes_udp() {
        false => "TCP",
        true => "TCP and UDP",
    };
    let to = join(plan.listeners.iter());
    run::say(&format!("{what} of {whose}: diverted to {to}"));
    for family in Family::ALL {
        if plan.listener(family).is_none() {
            run::say(&format!(
                "note: nothing listens for {family}, which goes its own way"
            ));
        }
    }
    for note in notes {
        run::say(&format!("note: {note}"));
    }
    let names_server = options.server.iter().any(|text| {
        let host = crate::address::split(text).map_or(text.as_str(), |(host, _)| host);
        host.parse::<IpAddr>().is_err()
    });
    if plan.host && plan.takes_udp() && plan.user.is_none() && names_server {
        run::say(
            "note: rpclient is no user of its own (--user), so its look-ups of the server's name are \
             diverted as well: name the server by its address",
        );
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_not_write_rules_is_told_which_capability_is_missing() {
        for (is_root, how) in [(true, "give this container CAP_NET_ADMIN"), (false, "sudo")] {
            let failure = no_capability(is_root);
            assert_eq!(failure.code, ExitCode::Permission);
            assert!(failure.text.contains("need CAP_NET_ADMIN") && failure.text.contains(how));
        }
    }
}
