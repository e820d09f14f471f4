//! `rpclient forward add|remove|list`: the caller's side. What the running program does is in
//! `forwards`.

use std::path::Path;

use super::ForwardStatus;
use crate::{
    args::client::{ClientOptions, ForwardCommand},
    control::{Caller, Command},
    exit_code::Failure,
    forward::{Direction, ForwardKey, ForwardSpec},
    run,
};

/// Has the program whose control socket is at `path` do `what` with the forwards in `typed`.
///
/// # Errors
/// They cannot be understood, the program does not answer, or refuses.
pub async fn command(
    path: &Path,
    what: &ForwardCommand,
    typed: &ClientOptions,
) -> Result<(), Failure> {
    let commands = match what {
        ForwardCommand::Add => each(typed, |direction, text| {
            let spec: ForwardSpec = parse(direction, text)?;
            Ok(Command::ForwardAdd {
                flag: direction.flag().to_owned(),
                forward: spec.to_string(),
            })
        })?,
        ForwardCommand::Remove => each(typed, |direction, text| {
            // Where it leads may be left out.
            let key = match text.parse::<ForwardSpec>() {
                Ok(spec) => spec.key(),
                Err(_) => parse::<ForwardKey>(direction, text)?,
            };
            Ok(Command::ForwardRemove {
                flag: direction.flag().to_owned(),
                listen: key.to_string(),
            })
        })?,
        ForwardCommand::List { .. } => vec![Command::ForwardList {}],
    };
    let mut caller = Caller::connect(path).await?;
    for command in &commands {
        let forwards: Vec<ForwardStatus> = caller.call(command).await?;
        for forward in &forwards {
            match what {
                ForwardCommand::List { json: true } => {
                    let line = serde_json::to_string(forward);
                    run::say(&line.map_err(|error| Failure::other(error.to_string()))?);
                }
                _ => run::say(&forward.to_string()),
            }
        }
    }
    Ok(())
}

/// One command for each forward that was typed.
fn each(
    typed: &ClientOptions,
    command: impl Fn(Direction, &str) -> Result<Command, Failure>,
) -> Result<Vec<Command>, Failure> {
    let local = typed
        .local_forward
        .iter()
        .map(|text| (Direction::Local, text));
    let remote = typed
        .remote_forward
        .iter()
        .map(|text| (Direction::Remote, text));
    let commands: Vec<Command> = local
        .chain(remote)
        .map(|(direction, text)| command(direction, text))
        .collect::<Result<_, Failure>>()?;
    if commands.is_empty() {
        return Err(Failure::usage("name a forward: -L or -R"));
    }
    Ok(commands)
}

fn parse<T>(direction: Direction, text: &str) -> Result<T, Failure>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse()
        .map_err(|error| Failure::usage(format!("{} {text}: {error}", direction.flag())))
}
