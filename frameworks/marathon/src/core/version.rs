//! The version of an app: the millisecond at which it was made, written the one way clients can read.

use std::fmt;

use model::time::Time;

/// Milliseconds since the Unix epoch; unique and growing for each app.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub Time);

impl Version {
    /// Reads any ISO-8601 date and time with an offset, so `...000Z` and `...Z` are the same version.
    pub fn parse(text: &str) -> Option<Self> {
        let stamp: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(stamp.as_millisecond()).ok().map(|millis| Self(Time::from_millis(millis)))
    }
}

/// `yyyy-MM-ddTHH:mm:ss.SSSZ`, always with three decimals: some clients read no other form.
pub fn stamp(time: Time) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let stamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    stamp.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&stamp(self.0))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_with_three_decimals() {
        for text in ["2024-05-02T08:11:09.412Z", "2024-05-02T08:11:09.000Z", "1970-01-01T00:00:00.010Z"] {
            assert_eq!(Version::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Version::parse("2024-05-02T08:11:09Z"), Version::parse("2024-05-02T10:11:09.000+02:00"));
        for text in ["", "yesterday", "2024-05-02", "1969-12-31T23:59:59Z"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert!(!stamp(Time::MAX).is_empty());
    }
}
