//! The time in a reply to MDTM (RFC 3659 section 2.3): `YYYYMMDDHHMMSS[.F...]`, in UTC.

use std::time::{Duration, SystemTime};

/// The time that `text` says, to the second.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let digits = text.split('.').next().unwrap_or_default();
    if digits.len() != 14 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits[from..to].parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let is_fit = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !is_fit {
        return None;
    }
    // Years begin in March here, so that the odd day is the last of one.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // From the first of March of year 0 to the beginning of 1970.
    let days = days.checked_sub(719_468)?;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (text, http) in [
            ("19700101000000", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("20240229123456", "Thu, 29 Feb 2024 12:34:56 GMT"),
            ("20000301000000.123", "Wed, 01 Mar 2000 00:00:00 GMT"),
            ("20261231235959", "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            assert_eq!(httpdate::fmt_http_date(parse(text).unwrap()), http);
        }
        for bad in [
            "",
            "2024",
            "20241301000000",
            "20240100000000",
            "19691231235959",
            "2024022912345x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
