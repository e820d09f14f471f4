//! Which copies of each user run. Whoever comes again after an interruption that this side has not noticed takes the
//! place of his former connection, which still holds the files that were under way.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rp_transfer::{
    error::Error,
    message::{CopyId, Durability},
    path::{RemotePath, Root},
    tree_copy::{Member, There, TreeCopy},
};
use tokio::{sync::watch, time::timeout};

use crate::file_threads::User;

/// Copies that one connection makes at once: a program makes one.
const MAX_COPIES: usize = 64;

/// How long a former connection may take to put down its files.
const GRACE: Duration = Duration::from_secs(10);

/// The copies of all users; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    active: Arc<Mutex<All>>,
    next_connection: Arc<AtomicU64>,
}

/// Whose copy, and which.
type All = HashMap<(User, CopyId), Arc<Active>>;

/// A copy that a connection makes.
#[derive(Debug)]
struct Active {
    connection: u64,
    copy: CopyId,
    /// Whether it has to end; each request listens.
    stop: watch::Sender<bool>,
    tree: OnceLock<Arc<TreeCopy>>,
}

/// One request of a copy.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    active: Arc<Active>,
    stop: watch::Receiver<bool>,
}

/// A connection, whose copies are over when this is dropped.
#[derive(Debug)]
pub(super) struct Connected {
    copies: Copies,
    user: User,
    number: u64,
}

impl Copies {
    fn lock(&self) -> MutexGuard<'_, All> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more connection of `user`, newer than all others.
    pub(super) fn connect(&self, user: User) -> Connected {
        Connected {
            copies: self.clone(),
            user,
            number: self.next_connection.fetch_add(1, Ordering::Relaxed),
        }
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.lock().len()
    }
}

impl Connected {
    //= spec/20-copy.md#trees
    //# A server MUST end what an older connection of the same client does for the same copy before it touches what
    //# that holds.
    /// Takes part in the copy `copy`, which is this connection's from here on.
    pub(super) async fn join(&self, copy: CopyId) -> Result<Joined, Error> {
        let key = (self.user, copy);
        loop {
            let older = match self.take(key)? {
                Ok(joined) => return Ok(joined),
                Err(older) => older,
            };
            older.stop.send_replace(true);
            if timeout(GRACE, older.stop.closed()).await.is_err() {
                return Err(Error::Busy(
                    "the same copy, by an earlier connection".to_owned(),
                ));
            }
            let mut active = self.copies.lock();
            if active.get(&key).is_some_and(|at| Arc::ptr_eq(at, &older)) {
                active.remove(&key);
            }
        }
    }

    /// A part in the copy, or the older connection that makes it.
    fn take(&self, key: (User, CopyId)) -> Result<Result<Joined, Arc<Active>>, Error> {
        let mut all = self.copies.lock();
        if let Some(active) = all.get(&key) {
            return match active.connection.cmp(&self.number) {
                std::cmp::Ordering::Equal => Ok(Ok(Joined::new(active))),
                std::cmp::Ordering::Less => Ok(Err(Arc::clone(active))),
                // The same copy was begun again meanwhile.
                std::cmp::Ordering::Greater => Err(Error::Interrupted),
            };
        }
        let own = all.values().filter(|of| of.connection == self.number);
        if own.count() >= MAX_COPIES {
            return Err(Error::TooManyCopies("this connection"));
        }
        let active = Arc::new(Active {
            connection: self.number,
            copy: key.1,
            stop: watch::Sender::new(false),
            tree: OnceLock::new(),
        });
        let joined = Joined::new(&active);
        all.insert(key, active);
        Ok(Ok(joined))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut all = self.copies.lock();
        all.retain(|_, active| active.connection != self.number);
    }
}

impl Joined {
    fn new(active: &Arc<Active>) -> Self {
        Self {
            active: Arc::clone(active),
            stop: active.stop.subscribe(),
        }
    }

    /// What all requests of the copy share, made by the first of them: the copy into `base` beneath `root`.
    pub(super) fn tree(
        &self,
        root: &Arc<Root>,
        base: RemotePath,
        durability: Durability,
    ) -> Result<Arc<TreeCopy>, Error> {
        let make = || {
            let copy = self.active.copy;
            let tree = TreeCopy::new(Arc::clone(root), base.clone(), copy, durability);
            tree.begin();
            tree
        };
        let tree = self.active.tree.get_or_init(make);
        match *tree.base() == base {
            true => Ok(Arc::clone(tree)),
            false => Err(Error::Protocol("one copy into two folders")),
        }
    }

    /// A request of the copy of a tree into `base` beneath `root`.
    pub(super) fn member(
        self,
        root: &Arc<Root>,
        base: RemotePath,
        durability: Durability,
    ) -> Result<Member, Error> {
        let tree = self.tree(root, base, durability)?;
        Ok(Member::new(tree).holding(self))
    }

    /// What an interrupted copy into `base` beneath `root` finished.
    pub(super) fn there(&self, root: &Arc<Root>, base: RemotePath, verify: bool) -> There {
        // Nothing is written by it, so that it makes no difference how durable that would be.
        let copy = self.active.copy;
        TreeCopy::new(Arc::clone(root), base, copy, Durability::default()).there(verify)
    }

    /// The request of a copy of one file.
    pub(super) fn alone(self) -> Member {
        Member::alone().holding(self)
    }

    /// Done when the copy is made anew by a newer connection.
    pub(super) async fn stopped(mut self) {
        if self.stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_newer_connection_takes_the_place_of_an_older_one_when_that_has_put_down_its_files() {
        //= spec/20-copy.md#trees
        //= type=test
        //# A server MUST end what an older connection of the same client does for the same copy before it touches
        //# what that holds.
        let copies = Copies::default();
        let (old, new) = (
            copies.connect(User::Ourselves),
            copies.connect(User::Ourselves),
        );
        let first = old.join([1; 16]).await.unwrap();
        let held = first.clone();
        let joining = new.join([1; 16]);
        tokio::pin!(joining);
        tokio::select! {
            biased;
            _ = &mut joining => panic!("the older one still holds its files"),
            () = first.stopped() => {}
        }
        drop(held);
        let second = joining.await.unwrap();
        assert_eq!(second.active.connection, new.number);
        // Whatever the older one still asks for is refused.
        assert!(matches!(old.join([1; 16]).await, Err(Error::Interrupted)));
        new.join([1; 16]).await.unwrap();
        // Another copy, or another user's, is nobody's business.
        old.join([2; 16]).await.unwrap();
        copies.connect(User::Anonymous).join([1; 16]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_older_connection_that_hangs_is_not_waited_for_without_end() {
        let copies = Copies::default();
        let (old, new) = (
            copies.connect(User::Ourselves),
            copies.connect(User::Ourselves),
        );
        let held = old.join([1; 16]).await.unwrap();
        assert!(matches!(new.join([1; 16]).await, Err(Error::Busy(_))));
        drop(held);
        new.join([1; 16]).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_has_few_copies_and_leaves_none_behind() {
        let copies = Copies::default();
        let one = copies.connect(User::Ourselves);
        for number in (0..).take(MAX_COPIES) {
            one.join([number; 16]).await.unwrap();
        }
        assert!(matches!(
            one.join([255; 16]).await,
            Err(Error::TooManyCopies(_))
        ));
        // Another connection of the same user has its own.
        copies
            .connect(User::Ourselves)
            .join([255; 16])
            .await
            .unwrap();
        drop(one);
        assert_eq!(copies.count(), 0);
    }
}
