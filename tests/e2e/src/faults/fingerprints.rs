//! What the masters' states were at the same places of their log, by their own word.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// By index: who had which digest there.
#[derive(Default)]
pub struct Fingerprints(Mutex<BTreeMap<u64, BTreeMap<String, String>>>);

impl Fingerprints {
    /// A master shows the last one it took. It has none before it has come to such a place of the log.
    pub(super) fn shown(&self, master: &str, fingerprint: &Value) {
        if let (Some(index), Some(digest)) = (fingerprint["index"].as_u64(), fingerprint["digest"].as_str()) {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let at = known.entry(index).or_default();
            // One that shows two at one index must not hide the first by the second.
            let before = at.insert(master.to_owned(), digest.to_owned());
            if let Some(other) = before.filter(|before| before != digest) {
                at.insert(format!("{master} before"), other);
            }
        }
    }

    /// Whether all who were seen at an index had the same digest there.
    ///
    /// # Errors
    /// The index, and who had what.
    pub(super) fn check(&self) -> Result<String, String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = |at: &BTreeMap<String, String>| {
            let mut digests = at.values();
            let first = digests.next();
            digests.any(|other| Some(other) != first)
        };
        if let Some((index, at)) = known.iter().find(|(_, at)| differs(at)) {
            return Err(format!("at index {index} there are {at:?}"));
        }
        match known.values().filter(|at| at.len() > 1).count() {
            0 => Err(format!("no two masters were seen at one of {} indices", known.len())),
            compared => Ok(format!("{compared} indices compared")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(shown: &[(&str, u64, &str)]) -> Result<String, String> {
        let fingerprints = Fingerprints::default();
        for (master, index, digest) in shown {
            fingerprints.shown(master, &json!({ "index": index, "digest": digest }));
        }
        fingerprints.check()
    }

    #[test]
    fn two_that_differ_at_one_index_are_found() {
        assert!(verdict(&[("a", 64, "x"), ("b", 64, "x"), ("b", 128, "y")]).is_ok());
        assert!(verdict(&[("a", 64, "x"), ("b", 64, "y")]).is_err(), "two masters");
        assert!(verdict(&[("a", 64, "x"), ("a", 64, "y"), ("b", 64, "y")]).is_err(), "a master and itself");
        assert!(verdict(&[("a", 64, "x"), ("b", 128, "y")]).is_err(), "nothing was compared");
    }
}
