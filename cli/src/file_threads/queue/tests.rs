//! Whose turn it is.

use super::*;

/// Jobs named by user, connection and number.
fn queue(pushed: &[(char, u64, u32)]) -> FairQueue<char, u32> {
    let mut queue = FairQueue::new(4, 2);
    for &(user, connection, job) in pushed {
        queue.push(&user, connection, job);
    }
    queue
}

/// All jobs that may run before any is over.
fn run(queue: &mut FairQueue<char, u32>) -> Vec<(char, u64, u32)> {
    std::iter::from_fn(|| queue.pop()).collect()
}

#[test]
fn users_take_turns_and_so_do_the_connections_of_each() {
    let mut queue = queue(&[
        ('a', 1, 1),
        ('a', 1, 2),
        ('a', 2, 3),
        ('b', 3, 4),
        ('b', 3, 5),
    ]);
    assert_eq!(
        run(&mut queue),
        [
            ('a', 1, 1),
            ('b', 3, 4),
            ('a', 2, 3),
            ('b', 3, 5),
            ('a', 1, 2)
        ]
    );
}

#[test]
fn a_thousand_jobs_of_one_connection_hold_up_nobody_else() {
    let greedy: Vec<_> = (0..1000).map(|job| ('a', 1, job)).collect();
    let mut queue = queue(&greedy);
    assert_eq!(run(&mut queue), [('a', 1, 0), ('a', 1, 1)]);
    queue.push(&'a', 2, 1000);
    queue.push(&'b', 3, 1001);
    let both = run(&mut queue);
    assert!(both.contains(&('a', 2, 1000)) && both.contains(&('b', 3, 1001)));
}

#[test]
fn one_user_with_many_connections_has_no_more_than_a_share_running() {
    let greedy: Vec<_> = (0..100).map(|one| ('a', one, 0)).collect();
    let mut queue = queue(&greedy);
    assert_eq!(run(&mut queue).len(), 4);
    queue.push(&'b', 200, 1);
    assert_eq!(run(&mut queue), [('b', 200, 1)]);
}

#[test]
fn a_job_that_is_over_lets_the_next_one_run_and_all_of_them_leave_nothing_behind() {
    let jobs: Vec<_> = (0..50).map(|job| ('a', u64::from(job % 3), job)).collect();
    let mut queue = queue(&jobs);
    let mut running: VecDeque<_> = run(&mut queue).into();
    let mut seen = Vec::new();
    while let Some((user, connection, job)) = running.pop_front() {
        queue.done(&user, connection);
        seen.push(job);
        running.extend(run(&mut queue));
        assert!(running.len() <= 4);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
    assert!(queue.users.is_empty() && queue.turns.is_empty());
}
