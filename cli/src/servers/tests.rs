//! Who is asked when, and who wins.

use std::future::pending;

use tokio::time::{Instant, sleep};

use super::*;

/// Runs a race in which server `n` answers after `answers[n]` milliseconds, `None` being never, a negative number a
/// failure: who won, and after how many milliseconds.
async fn winner(
    head_start: Duration,
    answers: &'static [Option<i64>],
) -> (Result<usize, Vec<usize>>, u128) {
    let start = Instant::now();
    let attempt = |at: usize| async move {
        let Some(after) = answers[at] else {
            return pending().await;
        };
        sleep(Duration::from_millis(after.unsigned_abs())).await;
        if after < 0 { Err(at) } else { Ok(()) }
    };
    let outcome = race(answers.len(), head_start, attempt).await;
    (outcome.map(|(at, ())| at), start.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn the_first_server_wins_if_it_is_well_and_the_next_if_it_is_silent() {
    let race = async |answers| winner(HEAD_START, answers).await;
    assert_eq!(race(&[Some(300), Some(10)]).await, (Ok(0), 300));
    assert_eq!(race(&[None, Some(10)]).await, (Ok(1), 510));
    assert_eq!(race(&[None, None, Some(10)]).await, (Ok(2), 1010));
    // Slow, but before the next one's answer.
    assert_eq!(race(&[Some(600), Some(200)]).await, (Ok(0), 600));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_gives_way_at_once() {
    let race = async |answers| winner(HEAD_START, answers).await;
    assert_eq!(race(&[Some(-20), Some(10)]).await, (Ok(1), 30));
    assert_eq!(race(&[Some(-20), Some(-30)]).await, (Err(vec![0, 1]), 50));
    // Failures are told in the order of the servers, whichever came last.
    assert_eq!(race(&[Some(-900), Some(-30)]).await, (Err(vec![0, 1]), 900));
}

#[tokio::test(start_paused = true)]
async fn the_fastest_wins_where_that_was_asked_for() {
    let race = async |answers| winner(Duration::ZERO, answers).await;
    let (won, after) = race(&[Some(300), None, Some(40)]).await;
    assert_eq!(won, Ok(2));
    assert!(after < 50, "{after} ms");
}

/// Servers that are never reached, of which the one at `used` is in use.
fn servers(count: usize, used: usize, order: ServerOrder) -> Servers {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("id");
    crate::identity::load_or_make_host_key(&key, &crate::prompt::Nobody).unwrap();
    let trust = crate::connect::Trust {
        identity: Some(key),
        known_hosts: Some(folder.path().join("known_hosts")),
        ..crate::connect::Trust::default()
    };
    let connector = |number: usize| {
        let server = format!("127.0.0.{number}:7377").parse().unwrap();
        Connector::new(
            server,
            crate::connect::Family::Any,
            &trust,
            &crate::prompt::Nobody,
        )
        .unwrap()
    };
    let servers = Servers::new((1..=count).map(connector).collect(), order);
    servers.note_used(used);
    servers
}

#[tokio::test]
async fn only_servers_before_the_one_in_use_are_returned_to() {
    let asked = Mutex::new(Vec::new());
    let answer = |well: &'static [&'static str]| {
        let asked = &asked;
        move |entry: Arc<Entry>| async move {
            let name = entry.server().to_string();
            asked.lock().unwrap().push(name.clone());
            match well.contains(&name.as_str()) {
                true => Ok(name),
                false => Err("away"),
            }
        }
    };
    let given = servers(3, 2, ServerOrder::Given);
    assert!(given.has_better());
    assert!(given.better(answer(&["127.0.0.3:7377"])).await.is_none());
    assert_eq!(*asked.lock().unwrap(), ["127.0.0.1:7377", "127.0.0.2:7377"]);
    assert_eq!(given.health()[0].error.as_deref(), Some("away"));
    let (_, name) = given.better(answer(&["127.0.0.2:7377"])).await.unwrap();
    assert_eq!(name, "127.0.0.2:7377");
    let used: Vec<_> = given.health().iter().map(|one| one.is_used).collect();
    assert_eq!(used, [false, true, false]);
    let fastest = servers(3, 2, ServerOrder::Fastest);
    assert!(!fastest.has_better());
    assert!(!servers(3, 0, ServerOrder::Given).has_better());
}
