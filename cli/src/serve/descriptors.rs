//! Who may have how many of the process's descriptors. What else bounds connections and copies is said by those who
//! have them.

/// One of so many is for copies, where files are served.
const COPIES: usize = 8;

/// One of so many is for connecting, looking names up, and the server itself.
const OWN: usize = 32;

/// One of so many is out of reach for a single user.
const OTHERS: usize = 8;

/// Descriptors by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Divided {
    /// Proxied connections.
    pub(super) targets: usize,
    /// Copies.
    pub(super) copies: usize,
}

impl Divided {
    /// What there is of `descriptors` for each.
    pub(super) const fn of(descriptors: usize, serves_files: bool) -> Self {
        let copies = match serves_files {
            true => descriptors / COPIES,
            false => 0,
        };
        let targets = descriptors - copies - descriptors / OWN;
        Self { targets, copies }
    }
}

/// The most of `all` that one user gets.
pub(super) const fn most_of(all: usize) -> usize {
    all - all / OTHERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nineteen_thousand_of_twenty_are_for_connections_where_no_files_are_served() {
        let divided = Divided::of(20_000, false);
        assert!(divided.targets >= 19_000, "{divided:?}");
        assert_eq!(divided.copies, 0);
        // One user leaves others some.
        assert!(most_of(divided.targets) <= 17_000);
    }

    #[test]
    fn nobody_has_the_descriptors_of_others_or_those_the_server_needs() {
        for descriptors in [64, 256, 1024, 20_000, 1 << 20, usize::MAX] {
            for serves_files in [false, true] {
                let Divided { targets, copies } = Divided::of(descriptors, serves_files);
                assert!(targets + copies <= descriptors - descriptors / OWN);
                assert!(targets >= descriptors / 4 * 3);
                assert_eq!(copies > 0, serves_files);
            }
        }
    }
}
