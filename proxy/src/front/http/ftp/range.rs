//! Which part of a file a request asks for (RFC 9110 section 14).

use std::fmt;

use super::super::fields::Fields;

/// What of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it.
    All,
    /// A part.
    Part(Range),
    /// A part that is not there, of a file of so many bytes.
    Nothing(u64),
}

/// Bytes of a file; both are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u64,
    last: u64,
    size: u64,
}

impl Range {
    pub(super) fn len(&self) -> u64 {
        self.last - self.first + 1
    }

    pub(super) fn is_to_end(&self) -> bool {
        self.last + 1 == self.size
    }
}

impl fmt::Display for Range {
    /// As `Content-Range` says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.first, self.last, self.size)
    }
}

/// What `fields` ask for of a file of `size` bytes that was last changed at `modified`. What is not
/// understood, several parts at once, and what cannot be told without its size asks for all of it.
pub(super) fn asked(fields: &Fields, size: Option<u64>, modified: Option<&str>) -> Asked {
    let mut ranges = fields.all("range");
    let (Some(range), None, Some(size)) = (ranges.next(), ranges.next(), size) else {
        return Asked::All;
    };
    // RFC 9110 section 13.1.5: only of the very file the client has a part of.
    if let Some(condition) = fields.all("if-range").next()
        && Some(condition.as_ref()) != modified.map(str::as_bytes)
    {
        return Asked::All;
    }
    parse(range, size).unwrap_or(Asked::All)
}

fn parse(range: &[u8], size: u64) -> Option<Asked> {
    let text = std::str::from_utf8(range).ok()?;
    let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (first, last) = match (first, last) {
        ("", suffix) => match number(suffix)? {
            0 => return Some(Asked::Nothing(size)),
            suffix => (size.saturating_sub(suffix), u64::MAX),
        },
        (first, "") => (number(first)?, u64::MAX),
        (first, last) => (number(first)?, number(last)?),
    };
    if last < first {
        return None;
    }
    if first >= size {
        return Some(Asked::Nothing(size));
    }
    let last = last.min(size - 1);
    Some(Asked::Part(Range { first, last, size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ten(range: &str) -> Asked {
        let mut fields = Fields::default();
        fields.push("Range", range.to_owned());
        asked(&fields, Some(10), None)
    }

    fn part(first: u64, last: u64) -> Asked {
        let size = 10;
        Asked::Part(Range { first, last, size })
    }

    #[test]
    fn one_part_is_understood_and_anything_else_asks_for_all() {
        assert_eq!(of_ten("bytes=2-4"), part(2, 4));
        assert_eq!(of_ten("bytes=2-"), part(2, 9));
        assert_eq!(of_ten("bytes=-3"), part(7, 9));
        assert_eq!(of_ten("bytes=-30"), part(0, 9));
        assert_eq!(of_ten("bytes=9-99999999999999999999"), part(9, 9));
        for nothing in ["bytes=10-", "bytes=10-20", "bytes=-0"] {
            assert_eq!(of_ten(nothing), Asked::Nothing(10), "{nothing}");
        }
        for all in [
            "bytes=4-2",
            "bytes=1-2,4-5",
            "bytes=",
            "bytes=-",
            "lines=1-2",
            "bytes=a-b",
            "bytes=+1-2",
        ] {
            assert_eq!(of_ten(all), Asked::All, "{all}");
        }
    }

    #[test]
    fn a_part_of_another_file_is_not_given() {
        let mut fields = Fields::default();
        fields.push("Range", "bytes=2-4");
        assert_eq!(asked(&fields, None, None), Asked::All);
        fields.push("If-Range", "Thu, 01 Jan 1970 00:00:00 GMT");
        let modified = Some("Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(asked(&fields, Some(10), modified), part(2, 4));
        let later = Some("Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(asked(&fields, Some(10), later), Asked::All);
        assert_eq!(asked(&fields, Some(10), None), Asked::All);
    }

    #[test]
    fn a_range_knows_its_length_and_whether_it_ends_the_file() {
        let Asked::Part(range) = of_ten("bytes=7-9") else {
            unreachable!()
        };
        assert_eq!((range.len(), range.is_to_end()), (3, true));
        assert_eq!(range.to_string(), "bytes 7-9/10");
    }
}
