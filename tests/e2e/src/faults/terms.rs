//! Who says that it leads, and in which term: each master is asked again and again while things break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clients::{Asker, Seen};

/// Between two questions to a master.
const PAUSE: Duration = Duration::from_millis(200);

/// By term: who led in it.
#[derive(Default)]
pub struct Terms(Mutex<BTreeMap<u64, BTreeSet<String>>>);

impl Terms {
    /// Whether each term had one leader.
    ///
    /// # Errors
    /// The term, and who led in it.
    pub(super) fn check(&self) -> Result<String, String> {
        let terms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((term, leaders)) = terms.iter().find(|(_, leaders)| leaders.len() > 1) {
            return Err(format!("{leaders:?} led in term {term}"));
        }
        if terms.is_empty() {
            return Err("nobody ever said that it leads".to_owned());
        }
        Ok(format!("{} terms with a leader", terms.len()))
    }
}

/// Asks one master, until it is stopped.
pub(super) async fn watch(asker: Asker, master: usize, seen: Arc<Seen>) {
    while !asker.stopped() {
        if let Ok(shown) = asker.get(master, "/members").await {
            seen.fingerprints.shown(asker.address(master), &shown["fingerprint"]);
            if shown["leading"] == true
                && let Some(term) = shown["term"].as_u64()
            {
                let mut terms = seen.terms.0.lock().unwrap_or_else(PoisonError::into_inner);
                terms.entry(term).or_default().insert(asker.address(master).to_owned());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
