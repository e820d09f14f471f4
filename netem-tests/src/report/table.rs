//! Figures as text: medians with spread, Markdown tables, dates. What the figures mean is the sections'
//! matter.

use std::fmt::Write as _;

/// The middle of some figures and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many.
    pub count: usize,
}

impl Spread {
    /// Of all figures that are numbers; `None` if there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().filter(|x| x.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let half = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[half]
        } else {
            f64::midpoint(sorted[half - 1], sorted[half])
        };
        Some(Self {
            median,
            min,
            max,
            count: sorted.len(),
        })
    }

    /// `94.1 (93.0-94.5)`; without brackets if nothing lies apart at that precision.
    pub fn text(&self, decimals: usize) -> String {
        let show = |x: f64| format!("{x:.decimals$}");
        if show(self.min) == show(self.max) {
            show(self.median)
        } else {
            format!(
                "{} ({}-{})",
                show(self.median),
                show(self.min),
                show(self.max)
            )
        }
    }
}

/// A Markdown table: the first row is its head.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
        }
    }
    text
}

/// `2026-11-22`, or two days and what is between them, from seconds since 1970.
pub fn days(first: u64, last: u64) -> String {
    let (first, last) = (day(first), day(last));
    if first == last {
        first
    } else {
        format!("{first} to {last}")
    }
}

/// The Gregorian date of a time (UTC), by counting years from March so that the leap day is a year's last.
fn day(unix_time: u64) -> String {
    let days = unix_time / 86_400 + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of([5.0, f64::NAN, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Spread::of([f64::NAN]), None);
    }

    #[test]
    fn a_spread_is_shown_only_where_there_is_one() {
        assert_eq!(Spread::of([1.04, 1.01]).unwrap().text(1), "1.0");
        assert_eq!(
            Spread::of([1.0, 2.0, 4.0]).unwrap().text(1),
            "2.0 (1.0-4.0)"
        );
    }

    #[test]
    fn a_table_has_a_line_under_its_head_and_no_stray_bars() {
        let rows = [
            vec!["a".to_owned(), "b|c".to_owned()],
            vec!["1".to_owned(), "2".to_owned()],
        ];
        assert_eq!(markdown(&rows), "| a | b\\|c |\n|---|---|\n| 1 | 2 |\n");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(
            days(1_795_305_600, 1_795_392_000),
            "2026-11-22 to 2026-11-23"
        );
    }
}
