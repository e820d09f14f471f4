//! Runs `nft` and `ip`, or prints what would be run. What they are told is `plan`'s.

use std::{
    fmt, io,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use super::plan::{Family, MARK, PRIORITY, ROUTES, TABLE};
use crate::exit_code::{ExitCode, Failure};

/// Where system programs are that a user's PATH may lack.
const SYSTEM_FOLDERS: &str = "/usr/sbin:/sbin:/usr/local/sbin";

/// A program with its arguments, and its standard input if it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    program: &'static str,
    args: Vec<String>,
    input: Option<String>,
}

impl fmt::Display for Step {
    /// As a shell takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.program, self.args.join(" "))?;
        match &self.input {
            Some(input) => write!(f, " <<'END'\n{input}END"),
            None => Ok(()),
        }
    }
}

impl Step {
    fn new(program: &'static str, args: &str) -> Self {
        Self {
            program,
            args: args.split(' ').map(ToOwned::to_owned).collect(),
            input: None,
        }
    }

    /// Replaces our table by `rules`, all or nothing.
    pub(super) fn load(rules: String) -> Self {
        Self {
            input: Some(rules),
            ..Self::new("nft", "-f -")
        }
    }

    pub(super) fn delete_table() -> Self {
        Self::new("nft", &format!("delete table inet {TABLE}"))
    }

    fn tables() -> Self {
        Self::new("nft", "list tables inet")
    }

    pub(super) fn add_route(family: Family) -> Self {
        let option = family.option();
        let args = format!("{option} route replace local default dev lo table {ROUTES}");
        Self::new("ip", &args)
    }

    fn delete_route(family: Family) -> Self {
        let option = family.option();
        let args = format!("{option} route del local default dev lo table {ROUTES}");
        Self::new("ip", &args)
    }

    fn routes(family: Family) -> Self {
        let option = family.option();
        Self::new("ip", &format!("{option} route show table {ROUTES}"))
    }

    pub(super) fn add_rule(family: Family) -> Self {
        Self::new("ip", &rule(family, "add"))
    }

    fn delete_rule(family: Family) -> Self {
        Self::new("ip", &rule(family, "del"))
    }

    fn rules(family: Family) -> Self {
        let option = family.option();
        Self::new("ip", &format!("{option} rule show"))
    }

    /// Runs it to its end; fails only where it could not be started.
    fn output(&self) -> Result<Output, Failure> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new("env")
            .arg(format!("PATH={path}:{SYSTEM_FOLDERS}"))
            .arg("LC_ALL=C")
            .arg(self.program)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.not_run(&error))?;
        if let Some(input) = &self.input
            && let Some(stdin) = child.stdin.as_mut()
        {
            // A program that reads no further says why when it ends.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child
            .wait_with_output()
            .map_err(|error| self.not_run(&error))?;
        // What `env` says of a program that is not there.
        if output.status.code() == Some(127) {
            return Err(self.not_run(&io::ErrorKind::NotFound.into()));
        }
        Ok(output)
    }

    fn not_run(&self, error: &io::Error) -> Failure {
        let program = self.program;
        Failure::other(match (error.kind(), program) {
            (io::ErrorKind::NotFound, "nft") => {
                "the program nft is missing: install the package nftables".to_owned()
            }
            (io::ErrorKind::NotFound, _) => {
                "the program ip is missing: install the package iproute2".to_owned()
            }
            _ => format!("cannot run {program}: {error}"),
        })
    }

    /// Runs it; fails where it does.
    pub(super) fn run(&self) -> Result<String, Failure> {
        let output = self.output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        let first = errors.lines().next().unwrap_or_default();
        let command = format!("{} {}", self.program, self.args.join(" "));
        let code = match errors.contains("not permitted") {
            true => ExitCode::Permission,
            false => ExitCode::Failed,
        };
        Err(Failure::new(code, format!("{command}: {first}")))
    }

    /// What it prints; nothing where it fails, as `ip -6` does on a system without IPv6.
    fn look(&self) -> Result<String, Failure> {
        let output = self.output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn rule(family: Family, verb: &str) -> String {
    let option = family.option();
    format!("{option} rule {verb} priority {PRIORITY} fwmark {MARK:#x} lookup {ROUTES}")
}

/// How often our routing rule stands in the list that `ip rule show` prints.
fn count_rules(list: &str) -> usize {
    let ours = format!("{PRIORITY}: from all fwmark {MARK:#x} lookup {ROUTES}");
    let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    list.lines().filter(|line| plain(line) == ours).count()
}

/// Another's rule with our priority, or another's route in our table.
fn stranger<'a>(rules: &'a str, routes: &'a str) -> Option<&'a str> {
    let has_our_priority = |line: &&str| line.starts_with(&format!("{PRIORITY}:"));
    let foreign_rule = rules
        .lines()
        .filter(has_our_priority)
        .find(|line| count_rules(line) == 0);
    let is_foreign =
        |line: &&str| !line.trim().is_empty() && !line.starts_with("local default dev lo");
    foreign_rule.or_else(|| routes.lines().find(is_foreign))
}

/// What has to be run for nothing of ours to be left, as things are.
pub(super) fn removal() -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    let table = format!("table inet {TABLE}");
    if Step::tables()
        .run()?
        .lines()
        .any(|line| line.trim() == table)
    {
        steps.push(Step::delete_table());
    }
    for family in Family::ALL {
        let rules = count_rules(&Step::rules(family).look()?);
        steps.extend((0..rules).map(|_| Step::delete_rule(family)));
        let routes = Step::routes(family).look()?;
        if routes
            .lines()
            .any(|line| line.starts_with("local default dev lo"))
        {
            steps.push(Step::delete_route(family));
        }
    }
    Ok(steps)
}

/// The routes and routing rules that are still missing for `family`.
///
/// # Errors
/// Our priority or our table is used by somebody else.
pub(super) fn routing(family: Family) -> Result<Vec<Step>, Failure> {
    let (rules, routes) = (Step::rules(family).look()?, Step::routes(family).look()?);
    if let Some(line) = stranger(&rules, &routes) {
        return Err(Failure::other(format!(
            "routing rule {PRIORITY} or routing table {ROUTES} is used by something else: {line}"
        )));
    }
    let mut steps = vec![Step::add_route(family)];
    if count_rules(&rules) == 0 {
        steps.push(Step::add_rule(family));
    }
    Ok(steps)
}

#[cfg(test)]
mod tests;
