//! How `rpcp` ends, each time for a real reason. What ends it in other ways is tested beside the part that it is about.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use rp_transfer::message::{Done, Message, Status};

use crate::{
    filters::with_mount,
    service::Control,
    trees::tree,
    world::{World, content, expect, names, stderr},
};

/// `command` as a user that may not read everything; as root that is one without the capabilities to.
fn as_a_user(command: &Command) -> Option<Command> {
    let mut wrapped = match rustix::process::geteuid().is_root() {
        true => {
            let mut wrapped = Command::new("setpriv");
            wrapped.arg("--bounding-set=-dac_override,-dac_read_search");
            wrapped.arg(command.get_program());
            wrapped
        }
        false => Command::new(command.get_program()),
    };
    wrapped
        .args(command.get_args())
        .current_dir(command.get_current_dir()?);
    for (name, value) in command.get_envs() {
        wrapped.env(name, value.unwrap_or_default());
    }
    wrapped.stdin(Stdio::null());
    let tried = Command::new("setpriv").arg("--version").output();
    if tried.is_err() {
        println!("skipped: setpriv is not installed");
        return None;
    }
    Some(wrapped)
}

fn forbid(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn files_that_may_not_be_read_are_listed_and_the_rest_is_copied() {
    let world = World::new();
    fs::create_dir_all(world.here("tree/folder")).unwrap();
    for index in 0..500 {
        fs::write(
            world.here("tree/folder").join(index.to_string()),
            content(index),
        )
        .unwrap();
    }
    fs::write(world.here("tree/large"), content((1 << 20) + 1)).unwrap();
    let forbidden = ["folder/7", "folder/80", "folder/299", "folder/499", "large"];
    let planted = tree(&world.here("tree"));
    for name in forbidden {
        forbid(&world.here("tree").join(name));
    }
    let Some(mut command) = as_a_user(&world.rpcp(&["-r", "tree", &world.url("")])) else {
        return;
    };
    let output = expect(1, command.output().unwrap());
    let text = stderr(&output);
    assert!(text.contains("5 of 501 not copied"), "{text}");
    assert_eq!(text.lines().count(), 6, "{text}");
    for name in forbidden {
        let line = text
            .lines()
            .find(|line| line.contains(&format!("tree/{name}: ")));
        let line = line.or_else(|| {
            text.lines()
                .find(|line| line.contains(&format!("{name}: ")))
        });
        assert!(
            line.is_some_and(|line| line.contains("ermission denied")),
            "{name}: {text}"
        );
    }
    let mut copied = planted;
    copied.retain(|path, _| !forbidden.iter().any(|name| path == Path::new(name)));
    assert!(tree(&world.root("tree")) == copied);
}

#[test]
fn a_file_that_may_not_be_read_or_written_is_exit_code_5() {
    let world = World::new();
    fs::write(world.here("file"), "x").unwrap();
    fs::write(world.root("file"), "x").unwrap();
    fs::create_dir(world.here("shut")).unwrap();
    forbid(&world.here("file"));
    fs::set_permissions(world.here("shut"), fs::Permissions::from_mode(0o500)).unwrap();
    for args in [
        ["file", &world.url("other")],
        [&world.url("file"), "shut/file"],
    ] {
        let Some(mut command) = as_a_user(&world.rpcp(&args)) else {
            return;
        };
        let output = expect(5, command.output().unwrap());
        assert!(
            stderr(&output).contains("ermission denied"),
            "{}",
            stderr(&output)
        );
    }
    assert_eq!(names(&world.root("")), ["file"]);
}

#[test]
fn a_file_system_that_is_full_is_exit_code_6_and_keeps_nothing_of_the_file() {
    let world = World::new();
    fs::create_dir(world.here("small")).unwrap();
    fs::write(world.root("file"), content(3_000_000)).unwrap();
    fs::create_dir(world.root("many")).unwrap();
    for index in 0..40 {
        fs::write(world.root("many").join(index.to_string()), content(100_000)).unwrap();
    }
    // A size that is known does not fit, a pipe fills it up, and so do many small files.
    for (args, what) in [
        (vec![world.url("file"), "small/file".to_owned()], "free"),
        (
            vec!["-r".to_owned(), world.url("many"), "small/many".to_owned()],
            "many/",
        ),
    ] {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let command = world.rpcp(&args);
        let Some(mut command) = with_mount(&command, &world.here("small"), "size=1m") else {
            return;
        };
        let output = expect(6, command.output().unwrap());
        assert!(stderr(&output).contains(what), "{}", stderr(&output));
    }
}

#[test]
fn another_version_is_exit_code_10() {
    let world = World::answering_for(World::folders(), "rpp-copy/2", |connection| async move {
        connection.closed().await;
    });
    fs::write(world.here("file"), "x").unwrap();
    let text = stderr(&world.run(10, &["file", &world.url("")]));
    assert!(text.contains("rpp-copy/1"), "{text}");
    // A server that knows the service and not what is asked of it.
    let world = World::answering(World::folders(), |connection| async move {
        let mut control = Control::accept(&connection).await;
        control.next().await;
        let done = Done {
            status: Status::Unsupported,
            text: "no such field".to_owned(),
        };
        control.send(Message::Done(done)).await;
        connection.closed().await;
    });
    fs::write(world.here("file"), "x").unwrap();
    let text = stderr(&world.run(10, &["file", &world.url("")]));
    assert!(text.contains("no such field"), "{text}");
}
