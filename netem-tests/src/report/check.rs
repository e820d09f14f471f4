//! The emulator's checks of itself: records and their table. What is checked is in `self_check`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Section, table::markdown};
use crate::record::{Circumstances, read};

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`Record::KIND`].
    pub kind: String,
    /// What was checked.
    pub name: String,
    /// Within its bound.
    pub is_good: bool,
    /// Figures and bounds, for people.
    pub text: String,
    /// Where and when.
    pub circumstances: Circumstances,
}

impl Record {
    /// Stands in every record of this kind.
    pub const KIND: &'static str = "check";
}

/// The newest record of each check; the figures of a check that failed stand there as they are.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn section(path: &Path) -> anyhow::Result<Option<Section>> {
    let mut newest: Vec<Record> = Vec::new();
    for record in read::<Record>(path)? {
        match newest.iter_mut().find(|known| known.name == record.name) {
            Some(known) => *known = record,
            None => newest.push(record),
        }
    }
    if newest.is_empty() {
        return Ok(None);
    }
    let mut rows = vec![["check", "result", "figures"].map(str::to_owned).to_vec()];
    rows.extend(newest.iter().map(|record| {
        let verdict = if record.is_good { "good" } else { "**bad**" };
        vec![record.name.clone(), verdict.to_owned(), record.text.clone()]
    }));
    let text = format!(
        "Measured by the kernel's TCP and UDP at both ends of the TUN carrier, not by the emulator's counters; only how late it \
         was is its own word.\n\n{}",
        markdown(&rows)
    );
    Ok(Some(Section {
        text,
        plots: Vec::new(),
        circumstances: newest.into_iter().map(|r| r.circumstances).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Journal;

    fn record(name: &str, is_good: bool) -> Record {
        Record {
            kind: Record::KIND.to_owned(),
            name: name.to_owned(),
            is_good,
            text: "0.3 ms".to_owned(),
            circumstances: Circumstances::now(),
        }
    }

    #[test]
    fn the_newest_result_of_a_check_stands_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("check.jsonl");
        assert!(section(&path).unwrap().is_none());
        let mut journal = Journal::open(&path).unwrap();
        for record in [record("a", false), record("b", false), record("a", true)] {
            journal.append(&record).unwrap();
        }
        let section = section(&path).unwrap().unwrap();
        assert!(
            section.text.contains("| a | good | 0.3 ms |"),
            "{}",
            section.text
        );
        assert!(
            section.text.contains("| b | **bad** | 0.3 ms |"),
            "{}",
            section.text
        );
        assert_eq!(section.circumstances.len(), 2);
    }
}
