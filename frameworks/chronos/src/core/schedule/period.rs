//! ISO 8601 durations: a part in the calendar, whose length depends on where it begins, and a part of fixed length.

use std::fmt;

use model::time::Span;

/// `P1Y2M3W4DT5H6M7.5S`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Period {
    pub months: u32,
    pub days: u32,
    /// Hours, minutes and seconds: they are as long everywhere.
    pub exact: Span,
}

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    #[error("'{0}' must be an ISO 8601 duration like P1D or PT30M")]
    Form(String),
    #[error("'{0}' must not be negative")]
    Negative(String),
    #[error("'{0}' has hours, minutes or seconds before the T: write PT{1}")]
    TimeWithoutT(String, String),
    #[error("'{0}' must be a whole number of milliseconds")]
    Fraction(String),
    #[error("'{0}' is longer than any calendar")]
    TooLong(String),
}

/// Days and months beyond this leave the calendar at once.
const MOST: u64 = 4_000_000;

impl Period {
    /// Case does not matter; a bare `P` is no time at all.
    ///
    /// # Errors
    /// See [`PeriodError`].
    pub fn parse(text: &str) -> Result<Self, PeriodError> {
        let upper = text.trim().to_ascii_uppercase();
        let form = || PeriodError::Form(text.to_owned());
        if upper.starts_with('-') || upper.contains("-") {
            return Err(PeriodError::Negative(text.to_owned()));
        }
        let body = upper.strip_prefix('P').ok_or_else(form)?;
        let (date, clock) = body.split_once('T').unwrap_or((body, ""));
        if date.contains(['H', 'S']) {
            return Err(PeriodError::TimeWithoutT(text.to_owned(), body.to_owned()));
        }
        let (mut months, mut days, mut millis) = (0u64, 0u64, 0u64);
        for (number, unit) in parts(date, "YMWD").ok_or_else(form)? {
            let number: u64 = whole(number).ok_or_else(form)?;
            let (total, factor) = match unit {
                'Y' => (&mut months, 12),
                'M' => (&mut months, 1),
                'W' => (&mut days, 7),
                _ => (&mut days, 1),
            };
            *total = number
                .checked_mul(factor)
                .and_then(|more| total.checked_add(more))
                .filter(|sum| *sum <= MOST)
                .ok_or_else(|| PeriodError::TooLong(text.to_owned()))?;
        }
        for (number, unit) in parts(clock, "HMS").ok_or_else(form)? {
            let more = match unit {
                'H' => whole(number).map(|hours| hours.saturating_mul(3_600_000)),
                'M' => whole(number).map(|minutes| minutes.saturating_mul(60_000)),
                _ => Some(
                    seconds(number).ok_or_else(form)?.map_err(|()| PeriodError::Fraction(text.to_owned()))?,
                ),
            };
            millis = millis.saturating_add(more.ok_or_else(form)?);
        }
        if millis / 86_400_000 > MOST {
            return Err(PeriodError::TooLong(text.to_owned()));
        }
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Self { months: small(months), days: small(days), exact: Span::from_millis(millis) })
    }

    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it depends on the calendar.
    pub(super) fn is_civil(&self) -> bool {
        self.months > 0 || self.days > 0
    }

    /// Its length on the average of 400 years, in milliseconds: 146,097 days are 4,800 months.
    pub(super) fn mean_millis(&self) -> u64 {
        u64::from(self.months) * 2_629_746_000 + u64::from(self.days) * 86_400_000 + self.exact.as_millis()
    }

    /// As a length without a calendar: a month is 30 days. For tolerances, never for occurrences.
    pub fn nominal(&self) -> Span {
        let days = u64::from(self.months) * 30 + u64::from(self.days);
        Span::from_millis((days * 86_400_000).saturating_add(self.exact.as_millis()))
    }
}

/// Numbers and units, each unit once and in order; `None` for anything else.
fn parts<'a>(text: &'a str, units: &str) -> Option<Vec<(&'a str, char)>> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut allowed = units;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ','))?;
        let unit = rest[end..].chars().next()?;
        let place = allowed.find(unit)?;
        found.push((&rest[..end], unit));
        allowed = &allowed[place + 1..];
        rest = &rest[end + 1..];
    }
    Some(found)
}

fn whole(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // What does not fit is far beyond every bound.
    Some(text.parse().unwrap_or(u64::MAX / 8_640_000_000))
}

/// Milliseconds of seconds with a fraction; the inner error is a fraction of a millisecond.
fn seconds(text: &str) -> Option<Result<u64, ()>> {
    let (whole_part, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let millis = whole(whole_part)?.saturating_mul(1000);
    whole(fraction)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 3 {
        return Some(Err(()));
    }
    let padded = format!("{fraction:0<3}");
    Some(Ok(millis.saturating_add(padded.parse().ok()?)))
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        let (years, months) = (self.months / 12, self.months % 12);
        for (number, unit) in [(years, 'Y'), (months, 'M'), (self.days, 'D')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        let millis = self.exact.as_millis();
        if millis == 0 {
            return Ok(());
        }
        f.write_str("T")?;
        for (number, unit) in [(millis / 3_600_000, 'H'), (millis / 60_000 % 60, 'M')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        if !millis.is_multiple_of(60_000) {
            write!(f, "{}S", Span::from_millis(millis % 60_000).to_string().trim_end_matches('s'))?;
        }
        Ok(())
    }
}
