//! The paths of a connection: the one owner of what goes which way.

use std::{
    ops::{Index, IndexMut},
    time::Duration,
};

use crate::{path::Path, wire::id::PathId};

/// All paths that are open, in the order in which they were opened. There is always one.
#[derive(Debug)]
pub(super) struct Paths {
    open: Vec<Path>,
    /// The path of new data.
    active: PathId,
}

impl Paths {
    /// The path of the handshake, which carries data as well until there is another.
    pub(super) fn new(first: Path) -> Self {
        let active = first.id;
        Self {
            open: vec![first],
            active,
        }
    }

    /// The path that new data takes.
    pub(super) fn active(&self) -> &Path {
        &self[self.active]
    }

    /// The path that new data takes.
    pub(super) fn active_mut(&mut self) -> &mut Path {
        let id = self.active;
        &mut self[id]
    }

    /// The path called `id`, where it is open.
    pub(super) fn get_mut(&mut self, id: PathId) -> Option<&mut Path> {
        self.open.iter_mut().find(|path| path.id == id)
    }

    /// The path after the one called `id`, or the first: so that a turn of all needs no borrow of the table.
    pub(super) fn after(&self, id: Option<PathId>) -> Option<PathId> {
        let next = |path: &&Path| id.is_none_or(|id| path.id > id);
        self.open.iter().find(next).map(|path| path.id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.open.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Path> {
        self.open.iter_mut()
    }

    /// How long the slowest path waits for an answer before it asks again: what concerns all paths waits for it.
    pub(super) fn probe_interval(&self) -> Duration {
        let intervals = self.open.iter().map(Path::probe_interval);
        intervals.max().unwrap_or_default()
    }
}

impl Index<PathId> for Paths {
    type Output = Path;

    fn index(&self, id: PathId) -> &Path {
        let path = self.open.iter().find(|path| path.id == id);
        path.expect("an id that was not checked came from this table")
    }
}

impl IndexMut<PathId> for Paths {
    fn index_mut(&mut self, id: PathId) -> &mut Path {
        self.get_mut(id)
            .expect("an id that was not checked came from this table")
    }
}
