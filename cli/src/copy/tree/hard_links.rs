//! `--hard-links`: a file with several names is copied once, and gets its other names when it is there.

use std::collections::HashMap;

use rp_transfer::message::{Entry, Kind, Version};

/// The names of one copy's files.
#[derive(Debug, Default)]
pub(super) struct HardLinks {
    first: HashMap<Version, Vec<u8>>,
    /// Entries for the others.
    later: Vec<Entry>,
}

impl HardLinks {
    /// Keeps `entry` for later if it is another name of a file that is copied; false if it is to be copied.
    pub(super) fn keep(&mut self, entry: &Entry) -> bool {
        let (Some(same), Kind::File) = (entry.same, entry.kind) else {
            return false;
        };
        let Some(first) = self.first.get(&same) else {
            self.first.insert(same, entry.path.clone());
            return false;
        };
        self.later.push(Entry {
            path: entry.path.clone(),
            kind: Kind::HardLink,
            target: first.clone(),
            ..Entry::default()
        });
        true
    }

    /// What was kept.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_names_of_what_is_copied_are_kept() {
        let entry = |path: &str, same: Option<u8>| Entry {
            path: path.as_bytes().to_vec(),
            same: same.map(|same| [same; 16]),
            ..Entry::default()
        };
        let mut links = HardLinks::default();
        assert!(!links.keep(&entry("a", Some(1))));
        assert!(!links.keep(&entry("b", Some(2))));
        assert!(!links.keep(&entry("c", None)));
        assert!(links.keep(&entry("d", Some(1))));
        let kept = links.take();
        assert_eq!(kept.len(), 1);
        assert_eq!(
            (kept[0].kind, &kept[0].path[..]),
            (Kind::HardLink, &b"d"[..])
        );
        assert_eq!(kept[0].target, b"a");
    }
}
