//! Query strings: names may repeat, and booleans are read as leniently as clients write them.

/// The pairs of a query string, in order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `true` in any case is true, every other word is false: one client library writes `True` and `False`.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.first(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_repeat_and_booleans_are_lenient() {
        let query = Query::parse(Some("embed=apps.tasks&embed=apps.counts&force=True&scale=False&wipe="));
        assert_eq!(query.all("embed").collect::<Vec<_>>(), ["apps.tasks", "apps.counts"]);
        assert!(query.flag("force", false));
        assert!(!query.flag("scale", true));
        assert!(!query.flag("wipe", true));
        assert!(query.flag("absent", true));
    }
}
