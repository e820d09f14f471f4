//! The tutorials of `proxy/docs`: every page can be read, is linked, and names only flags there are; the first
//! ones are run. `cargo lab tutorials` runs all of them.

use std::{collections::BTreeSet, fs, path::Path};

use clap::{CommandFactory as _, error::ErrorKind};
use rp_cli::args::{client::ClientArgs, copy::CopyArgs, server::ServerArgs};
use rp_netem_tests::{
    implementation::Kit,
    tutorial::{self, Page},
};

/// Pages whose programs every machine has that builds this one.
const RUN: [&str; 2] = ["README.md", "http.md"];

/// What ends a command in a shell.
const SEPARATORS: [&str; 9] = ["|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1"];

/// Commands of our programs in a script, with what they take as one word of another command, as ssh does.
fn commands(script: &str) -> Vec<Vec<String>> {
    let joined = script.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        // A line that is only part of a quoted text is no command.
        let words = shlex::split(line).unwrap_or_default();
        let mut rest = &words[..];
        while let Some(at) = rest.iter().position(|word| is_ours(word)) {
            let is_end = |word: &&String| SEPARATORS.contains(&&***word);
            let command: Vec<_> = rest[at..].iter().take_while(|word| !is_end(word)).collect();
            rest = &rest[at + command.len()..];
            found.push(command.into_iter().cloned().collect());
        }
        for word in words.iter().filter(|word| word.contains(' ')) {
            let (_, inner) = word.split_once('=').unwrap_or_default();
            found.extend(commands(inner));
        }
    }
    found
}

fn is_ours(word: &str) -> bool {
    ["rpclient", "rpserver", "rpcp"].contains(&word)
}

/// Why the program would refuse the command.
fn refusal(command: &[String]) -> Option<String> {
    // What ssh puts in for these.
    let words = command.iter().map(|word| match &**word {
        "%p" => "22",
        word => word,
    });
    let program = match &*command[0] {
        "rpserver" => ServerArgs::command(),
        "rpclient" => ClientArgs::command(),
        _ => CopyArgs::command(),
    };
    let error = program.try_get_matches_from(words).err()?;
    let is_fine = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    (!is_fine).then(|| error.to_string())
}

#[test]
fn every_command_of_ours_in_a_tutorial_is_understood() {
    let mut count = 0;
    for (name, page) in tutorial::pages().unwrap() {
        for block in page.blocks {
            for command in commands(&block.script) {
                count += 1;
                if let Some(refusal) = refusal(&command) {
                    panic!("{name}:{}: {command:?}: {refusal}", block.line);
                }
            }
        }
    }
    assert!(count > 10, "only {count} commands were found");
    let bad = commands(
        "sudo rpclient --sever a | tee x; rpserver\nssh -o 'ProxyCommand=rpclient connect %h %p' h",
    );
    assert_eq!(bad.len(), 3, "{bad:?}");
    assert!(refusal(&bad[0]).unwrap().contains("--sever"));
    assert_eq!(refusal(&bad[2]), None);
}

#[test]
fn every_page_is_run_and_the_first_one_links_them() {
    let tutorials: BTreeSet<_> = tutorial::pages()
        .unwrap()
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    let index = fs::read_to_string(tutorial::folder().join("README.md")).unwrap();
    for entry in fs::read_dir(tutorial::folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = fs::read_to_string(tutorial::folder().join(&name)).unwrap();
        // What is no tutorial has no commands to type.
        let has_commands = text.lines().any(|line| line.starts_with("```sh"));
        assert_eq!(tutorials.contains(&name), has_commands, "{name}");
        assert_eq!(Page::is_tutorial(&text), has_commands, "{name}");
        let is_linked = name == "README.md" || index.contains(&format!("]({name})"));
        assert!(!has_commands || is_linked, "{name} is not linked");
    }
}

#[test]
fn the_first_pages_do_what_they_say() {
    let programs = Path::new(env!("CARGO_BIN_EXE_lab")).parent().unwrap();
    let reason = tutorial::unavailable().or_else(|| {
        let is_there = programs.join("rpclient").is_file() && programs.join("rpserver").is_file();
        (!is_there).then(|| "rpclient and rpserver are not built".to_owned())
    });
    if let Some(reason) = reason {
        println!("SKIPPED the_first_pages_do_what_they_say: {reason}");
        return;
    }
    let pages = tutorial::pages().unwrap();
    let kit = Kit::new(Some(programs.to_owned()), true).unwrap();
    for name in RUN {
        match tutorial::run(&pages, name, &kit) {
            Ok(done) => assert!(done.blocks > 5 && done.outputs > 5, "{name}: {done:?}"),
            Err(error) if format!("{error:#}").starts_with("not installed") => {
                println!("SKIPPED the_first_pages_do_what_they_say: {error:#}");
            }
            Err(error) => panic!("{name} fails at {error:#}"),
        }
    }
}
