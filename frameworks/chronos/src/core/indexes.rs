//! Sets of small numbers that are mostly stretches: the indexes of an array that have begun, or are done.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Stretches by their first number, each with its last. Written as `0-4,7`: of ten thousand indexes that end roughly in the
/// order of their beginning, a list of all would be written anew at each end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes(BTreeMap<u32, u32>);

impl Indexes {
    pub fn contains(&self, index: u32) -> bool {
        self.0.range(..=index).next_back().is_some_and(|(_, last)| index <= *last)
    }

    /// Whether it was not there.
    pub fn insert(&mut self, index: u32) -> bool {
        if self.contains(index) {
            return false;
        }
        let before = self.0.range(..index).next_back().map(|(first, last)| (*first, *last));
        let first = match before {
            Some((first, last)) if last + 1 == index => first,
            _ => index,
        };
        let after = index.checked_add(1).and_then(|next| self.0.remove(&next));
        self.0.insert(first, after.unwrap_or(index));
        true
    }

    /// How many.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest number that is not there.
    pub fn first_absent(&self) -> u32 {
        self.0.get(&0).map_or(0, |last| last + 1)
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            write!(f, "{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Indexes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Indexes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let malformed =
            || serde::de::Error::custom(format!("'{text}' must be stretches of numbers like 0-4,7"));
        let mut indexes = Self::default();
        let mut least = Some(0u32);
        for stretch in text.split(',').filter(|stretch| !stretch.is_empty()) {
            let (first, last) = stretch.split_once('-').unwrap_or((stretch, stretch));
            let (Ok(first), Ok(last)) = (first.parse(), last.parse()) else { return Err(malformed()) };
            // In order and apart: each set has one text.
            if first > last || least.is_none_or(|least| first < least) {
                return Err(malformed());
            }
            indexes.0.insert(first, last);
            least = last.checked_add(2);
        }
        Ok(indexes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It is a set, its text is read back as the same one, and stretches are never left in pieces.
        #[test]
        fn it_is_a_set(numbers in prop::collection::vec(0u32..60, 0..80)) {
            let mut indexes = Indexes::default();
            let mut set = BTreeSet::new();
            for number in numbers {
                prop_assert_eq!(indexes.insert(number), set.insert(number));
            }
            prop_assert_eq!(indexes.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(indexes.len() as usize, set.len());
            prop_assert!((0..61).all(|number| indexes.contains(number) == set.contains(&number)));
            prop_assert_eq!(indexes.first_absent(), (0..).find(|number| !set.contains(number)).unwrap());
            let text = serde_json::to_string(&indexes).unwrap();
            prop_assert_eq!(serde_json::from_str::<Indexes>(&text).unwrap(), indexes.clone());
            let ends: Vec<(u32, u32)> = indexes.0.iter().map(|(a, b)| (*a, *b)).collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["a", "3-1", "2,1", "0-4,4", "0-4,5", "-1", "4294967296"] {
            assert!(serde_json::from_value::<Indexes>(text.into()).is_err(), "{text}");
        }
        let last: Indexes = serde_json::from_value("0,4294967295".into()).expect("a set");
        assert_eq!((last.len(), last.to_string().as_str()), (2, "0,4294967295"));
    }
}
