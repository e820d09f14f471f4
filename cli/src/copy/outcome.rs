//! What one copy counts in, and what is said when it is over.

use std::{collections::HashSet, sync::Arc};

use rp_transfer::{
    batch::{Outcome, Report},
    session::{Progress, Summary},
};

use super::{CopyError, manifest::Digests, requests::Requests, say::Voice, tree};

/// What a copy works with and counts in.
pub(super) struct Task {
    pub(super) requests: Arc<Requests>,
    /// Where it comes from, if that is not this machine.
    pub(super) from: Option<Arc<Requests>>,
    pub(super) progress: Arc<Progress>,
    pub(super) report: Report,
    pub(super) voice: Voice,
}

/// What there is to say when a copy is over.
pub(super) enum Copied {
    File {
        summary: Summary,
        /// What it is called beside its digest.
        named: Vec<u8>,
    },
    Tree(Outcome),
}

impl Copied {
    /// Digests of what is whole.
    pub(super) fn digests(&self) -> Digests {
        match self {
            Self::File { summary, named } => vec![(summary.digest, named.clone())],
            Self::Tree(outcome) => {
                let failed: HashSet<_> =
                    outcome.failures.iter().map(|failed| &failed.path).collect();
                let digests = outcome.digests.iter();
                digests
                    .filter(|(_, path)| !failed.contains(path))
                    .cloned()
                    .collect()
            }
        }
    }

    /// Says it, but for the failures that were `told`, and if wanted the digests.
    pub(super) fn say(self, voice: Voice, told: usize, checksum: bool) -> Result<(), CopyError> {
        if checksum {
            for (digest, path) in self.digests() {
                voice.digest(&digest, &path);
            }
        }
        match self {
            Self::File { summary, .. } => {
                voice.warn(&summary.note);
                Ok(())
            }
            Self::Tree(outcome) => {
                voice.outcome(&outcome, told);
                tree::judge(&outcome)
            }
        }
    }
}
