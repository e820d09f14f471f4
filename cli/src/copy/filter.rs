//! What of a tree is wanted: `--include` and `--exclude`. Which tree, and what becomes of it, is not known here.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};
use thiserror::Error;

/// One `--include` or `--exclude`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A pattern in the syntax of gitignore.
    pub pattern: String,
    /// Whether what it matches is wanted.
    pub include: bool,
}

/// Why a pattern is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// Its beginning has another meaning in gitignore.
    #[error("{0}: a pattern that begins with ! is written --include without it; a name by \\!")]
    Negated(String),
    /// It cannot be read.
    #[error("{0}")]
    Syntax(String),
}

/// Decides by the rules in the order in which they were typed: the first that matches counts, as in rsync.
#[derive(Clone, Debug)]
pub struct Filter {
    rules: Gitignore,
    /// There are only includes: nothing else is wanted.
    only_included: bool,
}

impl Filter {
    /// The filter of these rules; without any, everything is wanted.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn new(rules: &[Rule]) -> Result<Self, FilterError> {
        let mut builder = GitignoreBuilder::new("");
        // Of a gitignore file the last line that matches counts.
        for rule in rules.iter().rev() {
            let pattern = &rule.pattern;
            if pattern.starts_with('!') {
                return Err(FilterError::Negated(pattern.clone()));
            }
            let line = match (rule.include, pattern.starts_with('#')) {
                (true, _) => format!("!{pattern}"),
                (false, true) => format!("\\{pattern}"),
                (false, false) => pattern.clone(),
            };
            let added = builder.add_line(None, &line);
            added.map_err(|error| FilterError::Syntax(error.to_string()))?;
        }
        let built = builder.build();
        Ok(Self {
            rules: built.map_err(|error| FilterError::Syntax(error.to_string()))?,
            only_included: !rules.is_empty() && rules.iter().all(|rule| rule.include),
        })
    }

    /// Whether `path`, beneath the source, is wanted: with all folders that it is in. A folder is wanted too
    /// where something in it may be.
    pub fn wants(&self, path: &[u8], is_folder: bool) -> bool {
        if self.rules.is_empty() || path.is_empty() {
            return true;
        }
        let mut is_included = !self.only_included;
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let folders = slashes.map(|(at, _)| (&path[..at], true));
        for (path, is_folder) in folders.chain([(path, is_folder)]) {
            match self
                .rules
                .matched(Path::new(OsStr::from_bytes(path)), is_folder)
            {
                Match::Ignore(_) => return false,
                Match::Whitelist(_) => is_included = true,
                Match::None => {}
            }
        }
        is_included || is_folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(rules: &[&str]) -> Filter {
        let rules: Vec<_> = rules
            .iter()
            .map(|rule| Rule {
                include: rule.starts_with('+'),
                pattern: rule[1..].to_owned(),
            })
            .collect();
        Filter::new(&rules).unwrap()
    }

    #[track_caller]
    fn check(rules: &[&str], wanted: &[&str], unwanted: &[&str]) {
        let filter = filter(rules);
        let wants =
            |path: &str| filter.wants(path.trim_end_matches('/').as_bytes(), path.ends_with('/'));
        for path in wanted {
            assert!(wants(path), "{rules:?} leaves out {path}");
        }
        for path in unwanted {
            assert!(!wants(path), "{rules:?} takes {path}");
        }
    }

    #[test]
    fn without_rules_everything_is_wanted() {
        check(&[], &["a", "a/b", "a/b/"], &[]);
    }

    #[test]
    fn patterns_are_those_of_gitignore() {
        check(&["-*.o"], &["a.c", "o/a"], &["a.o", "x/y/a.o"]);
        check(&["-/top"], &["a/top"], &["top", "top/below"]);
        check(
            &["-build/"],
            &["build"],
            &["build/", "a/build/", "a/build/x"],
        );
        check(&["-a/**/z"], &["a/x", "z"], &["a/z", "a/b/c/z"]);
        check(&["-[!a]x"], &["ax"], &["bx"]);
        check(&["-#x"], &["x"], &["#x"]);
        check(&["-\\!x"], &["x"], &["!x"]);
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        check(&["+keep.o", "-*.o"], &["keep.o", "a/keep.o", "x"], &["a.o"]);
        check(&["-*.o", "+keep.o"], &["x"], &["keep.o"]);
        check(&["+*/", "+*.jpg", "-*"], &["a/", "a/b.jpg"], &["a/b.png"]);
    }

    #[test]
    fn with_includes_alone_nothing_else_is_wanted() {
        check(
            &["+*.jpg", "+doc/"],
            &["a.jpg", "a/", "a/b.jpg", "doc/x/y"],
            &["a.png", "a/doc"],
        );
    }

    #[test]
    fn names_need_not_be_utf_8() {
        let filter = filter(&["-*.o"]);
        assert!(!filter.wants(b"\xff\xfe.o", false));
        assert!(filter.wants(b"\xff\xfe.c", false));
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        let rule = Rule {
            pattern: "!x".to_owned(),
            include: false,
        };
        let error = Filter::new(&[rule]).unwrap_err();
        assert_eq!(error, FilterError::Negated("!x".to_owned()));
    }
}
