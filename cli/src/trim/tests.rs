//! What is worth giving back, without a process.

use super::*;

const MIB: u64 = 1 << 20;

fn look(tasks: usize, mib: u64) -> Look {
    Look {
        tasks,
        resident_bytes: mib * MIB,
    }
}

#[test]
fn many_connections_that_have_ended_are_worth_it_once() {
    let mut seen = Seen::first(look(10, 12));
    assert!(!seen.is_due(look(5000, 40)));
    assert!(!seen.is_due(look(10_010, 12)));
    assert!(!seen.is_due(look(9600, 12)), "a few hundred are not");
    assert!(seen.is_due(look(9000, 12)));
    let mut seen = Seen::first(look(9000, 12));
    assert!(!seen.is_due(look(9000, 12)));
}

#[test]
fn what_a_transfer_leaves_is_worth_it_once_it_is_over() {
    let mut seen = Seen::first(look(10, 12));
    assert!(!seen.is_due(look(10, 30)), "it grows");
    assert!(!seen.is_due(look(10, 60)));
    assert!(seen.is_due(look(10, 60)));
    // What cannot be given back is in use.
    let mut seen = Seen::first(look(10, 60));
    assert!(!seen.is_due(look(10, 60)));
    assert!(!seen.is_due(look(10, 66)));
    assert!(!seen.is_due(look(10, 66)), "a little is not");
}

#[tokio::test]
async fn a_look_sees_tasks_and_memory() {
    let before = Look::now();
    let task = tokio::spawn(std::future::pending::<()>());
    let after = Look::now();
    assert_eq!(after.tasks, before.tasks + 1);
    assert!(after.resident_bytes > MIB);
    task.abort();
}
