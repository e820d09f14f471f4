//! Real sockets in a folder of their own.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{
    call::find_in,
    message::MAX_COMMAND_BYTES,
    socket::{folder_from, usual_path},
    *,
};

/// Answers, or takes the connection over and echoes what comes.
struct Echo {
    takes_over: bool,
}

impl Handler for Echo {
    async fn handle(&self, _command: Command) -> Result<Answer, Refusal> {
        if !self.takes_over {
            return Answer::reply(&json!({"numbers": 7}));
        }
        let echo: TakeOver = Box::new(|mut stream: UnixStream, early: Bytes| {
            Box::pin(async move {
                stream.write_all(&early).await.unwrap();
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.unwrap();
            })
        });
        Ok(Answer::TakeOver(json!("yours"), echo))
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/rpclient-127.0.0.1:1080.sock");
    (folder, path)
}

fn serving(path: &std::path::Path, takes_over: bool) {
    let socket = ControlSocket::bind(path).unwrap();
    tokio::spawn(serve(Some(socket), Echo { takes_over }));
}

/// What a program answers to `line`, and then says no more.
async fn raw(path: &std::path::Path, line: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(line).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_command_is_answered_and_another_may_follow() {
    let (_folder, path) = folder();
    serving(&path, false);
    let mut caller = Caller::connect(&path).await.unwrap();
    for _ in 0..2 {
        let answer: serde_json::Value = caller.call(&Command::Status {}).await.unwrap();
        assert_eq!(answer, json!({"numbers": 7}));
    }
}

#[tokio::test]
async fn a_connection_that_was_taken_over_carries_bytes_in_order() {
    let (_folder, path) = folder();
    serving(&path, true);
    let answer = raw(&path, b"{\"command\":\"status\"}\nfirst, second").await;
    assert_eq!(answer, "{\"ok\":\"yours\"}\nfirst, second");
    let mut caller = Caller::connect(&path).await.unwrap();
    let _: String = caller.call(&Command::Status {}).await.unwrap();
    let mut stream = caller.into_stream();
    stream.write_all(b"bytes").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = String::new();
    stream.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "bytes");
}

#[tokio::test]
async fn what_is_no_command_is_answered_with_the_reason() {
    let (_folder, path) = folder();
    serving(&path, false);
    let answer = raw(&path, b"hello\n{\"command\":\"status\"}\n").await;
    let (refusal, next) = answer.split_once('\n').unwrap();
    assert!(
        refusal.starts_with("{\"error\":\"no command: "),
        "{refusal}"
    );
    assert_eq!(next, "{\"ok\":{\"numbers\":7}}\n");
    let answer = raw(&path, b"{\"command\":\"fly\"}\n").await;
    assert!(answer.contains("unknown variant `fly`"), "{answer}");
    let answer = raw(&path, b"{\"command\":\"status\",\"speed\":1}\n").await;
    assert!(answer.contains("speed"), "{answer}");
}

#[tokio::test]
async fn a_command_without_end_is_refused() {
    let (_folder, path) = folder();
    serving(&path, false);
    let answer = raw(&path, &[b' '; MAX_COMMAND_BYTES]).await;
    assert!(
        answer.starts_with("{\"error\":\"a command has at most"),
        "{answer}"
    );
}

#[tokio::test]
async fn callers_that_say_nothing_leave_their_places_to_others() {
    let (_folder, path) = folder();
    serving(&path, false);
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    tokio::time::pause();
    assert_eq!(
        raw(&path, b"{\"command\":\"status\"}\n").await,
        "{\"ok\":{\"numbers\":7}}\n"
    );
}

#[tokio::test]
async fn the_socket_is_for_its_user_only_and_goes_with_its_program() {
    let (_folder, path) = folder();
    let socket = ControlSocket::bind(&path).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_live_socket_is_not_replaced_and_a_stale_one_is() {
    let (_folder, path) = folder();
    let socket = ControlSocket::bind(&path).unwrap();
    assert!(matches!(
        ControlSocket::bind(&path),
        Err(ControlError::InUse)
    ));
    // A killed program leaves its file.
    let kept = path.with_extension("kept");
    std::fs::rename(&path, &kept).unwrap();
    drop(socket);
    std::fs::rename(&kept, &path).unwrap();
    let socket = ControlSocket::bind(&path).unwrap();
    assert_eq!(socket.path(), path);
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let (folder, _) = folder();
    let path = folder.path().join("notes");
    std::fs::write(&path, "notes").unwrap();
    assert!(matches!(
        ControlSocket::bind(&path),
        Err(ControlError::NotASocket)
    ));
    assert_eq!(std::fs::read(&path).unwrap(), b"notes");
}

#[tokio::test]
async fn a_folder_that_others_can_write_to_is_refused() {
    let (folder, _) = folder();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let refused = ControlSocket::bind(&open.join("s")).unwrap_err();
    assert!(refused.to_string().contains("chmod go-w"), "{refused}");
}

#[tokio::test]
async fn the_running_one_is_found_and_of_several_one_is_asked_for() {
    let (folder, path) = folder();
    let run = path.parent().unwrap();
    let none = find_in(run, "rpclient", None).unwrap_err();
    assert!(none.text.contains("no rpclient runs"), "{none}");
    let _one = ControlSocket::bind(&path).unwrap();
    let _server = ControlSocket::bind(&usual_path(run, "rpserver", "0.0.0.0:7377")).unwrap();
    assert_eq!(find_in(run, "rpclient", None).unwrap(), path);
    let other = usual_path(run, "rpclient", "[::1]:1081");
    let _two = ControlSocket::bind(&other).unwrap();
    let several = find_in(run, "rpclient", None).unwrap_err();
    assert!(several.text.contains("--control"), "{several}");
    assert!(several.text.contains("[::1]:1081"), "{several}");
    assert_eq!(find_in(run, "rpclient", Some("[::1]:1081")).unwrap(), other);
    drop(folder);
}

#[test]
fn the_runtime_folder_is_the_units_or_the_systems_or_the_sessions() {
    let folder = |unit: Option<&str>, session: Option<&str>, is_root| {
        folder_from(unit.map(Into::into), session.map(Into::into), is_root)
            .map(|path| path.display().to_string())
    };
    let of = |text: &str| Some(text.to_owned());
    assert_eq!(
        folder(Some("/run/unit"), Some("/run/user/0"), true),
        of("/run/unit")
    );
    assert_eq!(
        folder(None, Some("/run/user/0"), true),
        of("/run/rapidpath")
    );
    assert_eq!(
        folder(None, Some("/run/user/7"), false),
        of("/run/user/7/rapidpath")
    );
    assert_eq!(folder(Some("/a:/b"), Some("relative"), false), None);
}

#[tokio::test(start_paused = true)]
async fn callers_that_say_nothing_take_all_places_for_a_moment_only() {
    let (_folder, path) = folder();
    serving(&path, false);
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    let mut caller = Caller::connect(&path).await.unwrap();
    let answer: serde_json::Value = caller.call(&Command::Status {}).await.unwrap();
    assert_eq!(answer, json!({"numbers": 7}));
}
