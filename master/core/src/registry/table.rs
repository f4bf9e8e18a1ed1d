//! A persistent map of shared facts that always knows its own digest.

use std::borrow::Borrow;
use std::ops::RangeBounds;
use std::sync::Arc;

use imbl::OrdMap;
use wire::registry::Record;

use super::digest;

/// A fact that is written to snapshots. The same record is hashed for the digest, so that a digest is equal
/// exactly where the snapshots would be.
pub(crate) trait Fact {
    fn record(&self) -> Record;
}

#[derive(Debug)]
struct Row<F> {
    fact: Arc<F>,
    fingerprint: u64,
}

// By hand: the derived one would ask `F: Clone`.
impl<F> Clone for Row<F> {
    fn clone(&self) -> Self {
        Self { fact: Arc::clone(&self.fact), fingerprint: self.fingerprint }
    }
}

pub(crate) struct Table<K, F> {
    rows: OrdMap<K, Row<F>>,
    /// The sum of the fingerprints, wrapping. A sum forgets order and can be taken back, so that an insertion
    /// and its removal cost the same and a snapshot needs no particular order.
    digest: u64,
}

impl<K, F> Clone for Table<K, F> {
    fn clone(&self) -> Self {
        Self { rows: self.rows.clone(), digest: self.digest }
    }
}

impl<K: Ord + std::fmt::Debug, F: std::fmt::Debug> std::fmt::Debug for Table<K, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.rows.iter().map(|(key, row)| (key, &row.fact))).finish()
    }
}

impl<K, F> Default for Table<K, F> {
    fn default() -> Self {
        Self { rows: OrdMap::default(), digest: 0 }
    }
}

impl<K: Ord + Clone, F: Fact> Table<K, F> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<F>>
    where
        K: Borrow<Q>,
    {
        self.rows.get(key).map(|row| &row.fact)
    }

    pub(crate) fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.rows.contains_key(key)
    }

    /// Puts a fact in and hands out the one it replaces.
    pub(crate) fn insert(&mut self, key: K, fact: impl Into<Arc<F>>) -> Option<Arc<F>> {
        let fact = fact.into();
        let fingerprint = digest::of(&*fact);
        self.digest = self.digest.wrapping_add(fingerprint);
        let old = self.rows.insert(key, Row { fact, fingerprint })?;
        self.digest = self.digest.wrapping_sub(old.fingerprint);
        Some(old.fact)
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<F>>
    where
        K: Borrow<Q>,
    {
        let old = self.rows.remove(key)?;
        self.digest = self.digest.wrapping_sub(old.fingerprint);
        Some(old.fact)
    }

    pub(crate) fn first(&self) -> Option<(&K, &Arc<F>)> {
        self.rows.get_min().map(|(key, row)| (key, &row.fact))
    }

    pub(crate) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<F>> + use<'_, K, F> {
        self.rows.values().map(|row| &row.fact)
    }

    pub(crate) fn range<R, Q>(&self, range: R) -> impl Iterator<Item = (&K, &Arc<F>)>
    where
        R: RangeBounds<Q>,
        Q: Ord + ?Sized,
        K: Borrow<Q>,
    {
        self.rows.range(range).map(|(key, row)| (key, &row.fact))
    }

    /// The records in order, from a clone of the table: nothing of the registry is borrowed while they are
    /// written to a disk.
    pub(crate) fn into_records(self) -> impl Iterator<Item = Record>
    where
        K: 'static,
        F: 'static,
    {
        self.rows.into_iter().map(|(_, row)| row.fact.record())
    }
}
