//! A set of small numbers that is asked for the next one from a place on.

/// One bit for each number. Walking all agents in turn costs next to nothing where a tree would be searched anew for
/// each of them, and a lonely one among 50,000 is found within 800 words.
#[derive(Debug, Default)]
pub(super) struct Marks {
    words: Vec<u64>,
    count: usize,
}

fn place(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

impl Marks {
    pub(super) fn insert(&mut self, number: u32) {
        let (word, bit) = place(number);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.count += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        let there = self.contains(number);
        if there {
            let (word, bit) = place(number);
            self.words[word] &= !bit;
            self.count -= 1;
        }
        there
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds all of the other set.
    pub(super) fn extend(&mut self, other: &Self) {
        for (word, bits) in other.words.iter().enumerate() {
            if self.words.len() <= word {
                self.words.resize(other.words.len(), 0);
            }
            self.count += (bits & !self.words[word]).count_ones() as usize;
            self.words[word] |= bits;
        }
    }

    pub(super) fn clear(&mut self) {
        if self.count > 0 {
            self.words.fill(0);
            self.count = 0;
        }
    }

    /// The first number not below `start`, or else the first of all.
    pub(super) fn next_from(&self, start: u32) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let (first, bit) = place(start);
        // The bits from `start` on, in its own word.
        let head = self.words.get(first).map_or(0, |bits| bits & !(bit - 1));
        if head != 0 {
            return number(first, head);
        }
        let later = self.words.iter().enumerate().skip(first + 1);
        later.chain(self.words.iter().enumerate()).find_map(|(word, bits)| number(word, *bits))
    }
}

/// The lowest number among the bits of a word.
fn number(word: usize, bits: u64) -> Option<u32> {
    let lowest = u32::try_from(word * 64).expect("numbers are of 32 bits") + bits.trailing_zeros();
    (bits != 0).then_some(lowest)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(steps in proptest::collection::vec((any::<bool>(), 0u32..200), 0..60), starts in proptest::collection::vec(0u32..300, 5), others in proptest::collection::btree_set(0u32..300, 0..9)) {
            let (mut marks, mut set) = (Marks::default(), BTreeSet::new());
            for (add, number) in steps {
                if add {
                    marks.insert(number);
                    set.insert(number);
                } else {
                    prop_assert_eq!(marks.remove(number), set.remove(&number));
                }
                prop_assert_eq!(marks.is_empty(), set.is_empty());
                for start in &starts {
                    let next = set.range(start..).next().or_else(|| set.first()).copied();
                    prop_assert_eq!(marks.next_from(*start), next);
                }
            }
            let mut both = Marks::default();
            for number in &others {
                both.insert(*number);
            }
            both.extend(&marks);
            prop_assert_eq!(both.count, set.union(&others).count());
            prop_assert!(set.union(&others).all(|number| both.contains(*number)));
            marks.clear();
            prop_assert_eq!(marks.next_from(0), None);
        }
    }
}
