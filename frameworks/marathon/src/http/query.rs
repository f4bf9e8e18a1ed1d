//! Query strings: keys may repeat, and booleans come as client libraries write them.

use percent_encoding::percent_decode_str;

/// The pairs of a query string, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(key), decoded(value))
                })
                .collect(),
        )
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// Every value of a key that may repeat.
    pub(crate) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// `true` in any case is true, any other word is false: one client library writes Python's `True` and `False`.
    pub(crate) fn flag(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_repeat_and_booleans_are_lenient() {
        let query = Query::parse(Some(
            "embed=apps.tasks&force=True&embed=apps.counts&wipe=&scale=False&id=a%2Fb+c&x",
        ));
        assert_eq!(query.all("embed").collect::<Vec<_>>(), ["apps.tasks", "apps.counts"]);
        assert!(query.flag("force", false));
        assert!(!query.flag("wipe", true));
        assert!(!query.flag("scale", true));
        assert!(query.flag("absent", true));
        assert_eq!(query.get("id"), Some("a/b c"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(Query::parse(Some("%zz=%ff&&=")).get("%zz"), Some("\u{fffd}"));
    }
}
