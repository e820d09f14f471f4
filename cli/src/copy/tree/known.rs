//! What an interrupted copy of the same tree finished: it is not copied again.

use std::{collections::HashSet, sync::Arc};

use rp_transfer::{
    message::{Depth, List, Mark, Message, Resume},
    tree_journal::mark,
};
use tokio::sync::mpsc::{self, error::TryRecvError};

use super::{CopyError, Tree};

/// Most files that are believed to be there: what is beyond is copied again.
const MAX_KNOWN: usize = 4 << 20;

/// A part of the server's answer, or why there is none.
type Said = Result<Vec<Mark>, CopyError>;

/// Files that are there, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    marks: HashSet<Mark>,
    /// The answer has begun.
    is_begun: bool,
    /// What the server has not said yet.
    coming: Option<mpsc::UnboundedReceiver<Said>>,
}

impl Known {
    /// Asks the server what is there in its folder `base`.
    pub(super) fn ask(tree: &Arc<Tree>, base: &[u8]) -> Self {
        let resume = tree.options.file.resume;
        if resume == Resume::Never || tree.options.dry_run || tree.options.digests {
            return Self::default();
        }
        let (told, coming) = mpsc::unbounded_channel();
        let list = Message::List(List {
            path: base.to_vec(),
            depth: Depth::Itself,
            journal: true,
            copy: Some(tree.id),
            verify: resume == Resume::Verify,
            ..List::default()
        });
        let tree = Arc::clone(tree);
        tokio::spawn(async move {
            if let Err(error) = tree.ask_known(&list, &told).await {
                // Nobody may want to know any more.
                let _ = told.send(Err(error));
            }
        });
        Self {
            coming: Some(coming),
            ..Self::default()
        }
    }

    /// What is there as this machine's own journal says.
    pub(super) fn of(marks: HashSet<Mark>) -> Self {
        Self {
            marks,
            ..Self::default()
        }
    }

    /// Whether such a copy was begun there; waits for the answer. Where the server cannot say, as above the folder that
    /// it was told to share, none was.
    pub(super) async fn is_begun(&mut self) -> bool {
        if let Some(coming) = &mut self.coming {
            let said = coming.recv().await;
            self.take(said.and_then(Result::ok));
        }
        self.is_begun
    }

    fn take(&mut self, marks: Option<Vec<Mark>>) {
        match marks {
            Some(marks) => {
                self.is_begun = true;
                self.marks.extend(marks);
            }
            None => self.coming = None,
        }
    }

    //= spec/20-copy.md#trees
    //# A client MAY send before the answer.
    /// Whether a file of this content is there. Before the server has said anything the answer is no: that costs
    /// what is sent in one round trip, and waiting would cost every copy the round trip.
    pub(super) async fn contains(&mut self, version: Option<&[u8; 16]>, path: &[u8]) -> bool {
        self.take_in().await;
        version.is_some_and(|version| self.marks.contains(&mark(version, path)))
    }

    /// Takes in what was said; once it has begun, all of it.
    async fn take_in(&mut self) {
        while let Some(coming) = &mut self.coming {
            let said = match coming.try_recv() {
                Ok(said) => Some(said),
                Err(TryRecvError::Empty) if !self.is_begun => return,
                Err(TryRecvError::Empty) => coming.recv().await,
                Err(TryRecvError::Disconnected) => None,
            };
            // A server that cannot say gets all of it: what is wrong, the copy itself will tell.
            self.take(said.and_then(Result::ok));
        }
    }
}

impl Tree {
    /// Hands on what the server says.
    async fn ask_known(
        &self,
        list: &Message,
        told: &mpsc::UnboundedSender<Said>,
    ) -> Result<(), CopyError> {
        let mut answers = self.requests.ask(std::slice::from_ref(list)).await?;
        let mut count = 0;
        while let Some(marks) = answers.next_marks().await? {
            count += marks.len();
            if count > MAX_KNOWN || told.send(Ok(marks)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_of_an_answer_is_waited_for_once_it_has_begun() {
        //= spec/20-copy.md#trees
        //= type=test
        //# A client MAY send before the answer.
        let (told, coming) = mpsc::unbounded_channel();
        let mut known = Known {
            coming: Some(coming),
            ..Known::default()
        };
        let (first, second) = ([1; 16], [2; 16]);
        assert!(!known.contains(Some(&first), b"a").await);
        told.send(Ok(vec![mark(&first, b"a")])).unwrap();
        let telling = tokio::spawn(async move {
            told.send(Ok(vec![mark(&second, b"b")])).unwrap();
        });
        assert!(known.contains(Some(&second), b"b").await);
        assert!(known.contains(Some(&first), b"a").await);
        assert!(!known.contains(Some(&first), b"b").await);
        assert!(!known.contains(None, b"a").await);
        telling.await.unwrap();
    }
}
