//! Which job a file thread does next: users take turns, and the connections of each user.
//! Threads, and what a job is, are `file_threads`' matter.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// Jobs waiting for a thread, each of a connection of a user `U`.
#[derive(Debug)]
pub(super) struct FairQueue<U, J> {
    per_user: usize,
    per_connection: usize,
    users: HashMap<U, Jobs<J>>,
    /// Users with jobs waiting, the one whose turn is next first.
    turns: VecDeque<U>,
    waiting: usize,
}

/// What one user has waiting and running.
#[derive(Debug)]
struct Jobs<J> {
    running: usize,
    connections: HashMap<u64, Line<J>>,
    /// Connections with jobs waiting, the one whose turn is next first.
    turns: VecDeque<u64>,
}

/// What one connection has waiting and running.
#[derive(Debug)]
struct Line<J> {
    running: usize,
    waiting: VecDeque<J>,
}

impl<U: Clone + Eq + Hash, J> FairQueue<U, J> {
    /// A queue that lets a user have `per_user` jobs run at once, and a connection `per_connection`.
    pub(super) fn new(per_user: usize, per_connection: usize) -> Self {
        Self {
            per_user,
            per_connection,
            users: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Jobs that wait, whether they may run or not.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Adds a job of a connection, which is this user's.
    pub(super) fn push(&mut self, user: &U, connection: u64, job: J) {
        let jobs = self.users.entry(user.clone()).or_insert_with(|| Jobs {
            running: 0,
            connections: HashMap::new(),
            turns: VecDeque::new(),
        });
        if jobs.turns.is_empty() {
            self.turns.push_back(user.clone());
        }
        let line = jobs.connections.entry(connection).or_insert_with(|| Line {
            running: 0,
            waiting: VecDeque::new(),
        });
        if line.waiting.is_empty() {
            jobs.turns.push_back(connection);
        }
        line.waiting.push_back(job);
        self.waiting += 1;
    }

    /// The next job that may run, which counts as running from here on, and whose it is.
    pub(super) fn pop(&mut self) -> Option<(U, u64, J)> {
        for _ in 0..self.turns.len() {
            let user = self.turns.pop_front()?;
            let taken = self.users.get_mut(&user).and_then(|jobs| {
                let taken = match jobs.running < self.per_user {
                    true => jobs.pop(self.per_connection),
                    false => None,
                };
                if !jobs.turns.is_empty() {
                    self.turns.push_back(user.clone());
                }
                taken
            });
            if let Some((connection, job)) = taken {
                self.waiting -= 1;
                return Some((user, connection, job));
            }
        }
        None
    }

    /// A job of this connection is over.
    pub(super) fn done(&mut self, user: &U, connection: u64) {
        let Some(jobs) = self.users.get_mut(user) else {
            return;
        };
        jobs.running -= 1;
        if let Some(line) = jobs.connections.get_mut(&connection) {
            line.running -= 1;
            if line.running == 0 && line.waiting.is_empty() {
                jobs.connections.remove(&connection);
            }
        }
        // Nothing is remembered of users who have nothing to do.
        if jobs.connections.is_empty() {
            self.users.remove(user);
        }
    }
}

impl<J> Jobs<J> {
    fn pop(&mut self, per_connection: usize) -> Option<(u64, J)> {
        for _ in 0..self.turns.len() {
            let connection = self.turns.pop_front()?;
            let line = self.connections.get_mut(&connection)?;
            let job = match line.running < per_connection {
                true => line.waiting.pop_front(),
                false => None,
            };
            if !line.waiting.is_empty() {
                self.turns.push_back(connection);
            }
            if let Some(job) = job {
                line.running += 1;
                self.running += 1;
                return Some((connection, job));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
