//! Finding room for a wish in what there is.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::bag::{Bag, Item};
use super::value::{Set, Value};
use crate::quantity::Quantity;
use crate::ranges::Ranges;
use crate::role::Role;

impl Bag {
    /// Items that cover `wanted` for a task in `role`, or `None` when something is short.
    ///
    /// Of `wanted` only names and amounts count. What is reserved is taken first, beginning with the narrowest
    /// reservation, so that the unreserved rest stays open to others. Volumes, disks with a source of their own, and
    /// resources that are revocable or shared are never taken: who wants those names them.
    pub fn find(&self, wanted: &Self, role: &Role) -> Option<Self> {
        let sources = self.fungible(role);
        let mut found = Self::new();
        for wish in wanted {
            let candidates = sources.iter().filter(|item| item.name() == wish.name());
            let taken = match wish.value() {
                Value::Ranges(numbers) => take_ranges(candidates, numbers),
                Value::Set(names) => take_set(candidates, names),
                scalar => take_scalar(candidates, scalar.quantity()),
            }?;
            for item in taken {
                found.insert(item);
            }
        }
        Some(found)
    }

    /// What may be taken for a wish, in the order of taking.
    fn fungible(&self, role: &Role) -> Vec<&Item> {
        let special =
            |item: &Item| item.tag().is_some_and(|tag| tag.disk.is_some() || tag.revocable || tag.shared);
        let mut items: Vec<&Item> =
            self.iter().filter(|item| !special(item) && item.is_allocatable_to(role)).collect();
        // A longer role is a narrower reservation, for all of them lie on one path. The sort is stable.
        items.sort_by_key(|item| Reverse(item.reserved_to().map_or(0, |owner| owner.as_str().len())));
        items
    }
}

fn part_of(item: &Item, value: Value) -> Item {
    Item::new(item.name().clone(), item.tag_or_default(), value)
}

fn take_scalar<'a>(items: impl Iterator<Item = &'a &'a Item>, wanted: Quantity) -> Option<Vec<Item>> {
    let (mut left, mut taken) = (wanted, Vec::new());
    for item in items {
        let part = item.value().quantity().min(left);
        left = left.saturating_sub(part);
        taken.push(part_of(item, Value::Scalar(part)));
    }
    left.is_zero().then_some(taken)
}

fn take_ranges<'a>(items: impl Iterator<Item = &'a &'a Item>, wanted: &Ranges) -> Option<Vec<Item>> {
    let (mut left, mut taken) = (wanted.clone(), Vec::new());
    for item in items {
        if let Value::Ranges(free) = item.value() {
            let part = free.intersect(&left);
            left = left.subtract(&part);
            taken.push(part_of(item, Value::Ranges(part)));
        }
    }
    left.is_empty().then_some(taken)
}

fn take_set<'a>(items: impl Iterator<Item = &'a &'a Item>, wanted: &Set) -> Option<Vec<Item>> {
    let (mut left, mut taken) = ((**wanted).clone(), Vec::new());
    for item in items {
        if let Value::Set(free) = item.value() {
            let part: BTreeSet<_> = free.intersection(&left).cloned().collect();
            left.retain(|name| !part.contains(name));
            taken.push(part_of(item, Value::Set(part.into())));
        }
    }
    left.is_empty().then_some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Role {
        text.parse().unwrap()
    }

    fn bag(text: &str) -> Bag {
        Bag::parse(text).unwrap()
    }

    #[test]
    fn reserved_goes_first_and_narrowest_first() {
        let have = bag("cpus:4;cpus(eng):2;cpus(eng/web):1;cpus(ops):8");
        let found = have.find(&bag("cpus:3.5"), &role("eng/web")).unwrap();
        assert_eq!(found, bag("cpus(eng/web):1;cpus(eng):2;cpus:0.5"));
        assert_eq!(have.find(&bag("cpus:3"), &role("eng")).unwrap(), bag("cpus(eng):2;cpus:1"));
        assert_eq!(have.find(&bag("cpus:7.001"), &role("eng/web")), None);
        assert_eq!(have.find(&bag("cpus:4.001"), &role("dev")), None);
    }

    #[test]
    fn numbers_and_names() {
        let have = bag("ports:[10-20];ports(eng):[30-31];zones:{a,b}");
        assert_eq!(
            have.find(&bag("ports:[12-13,30-30]"), &role("eng")).unwrap(),
            bag("ports:[12-13];ports(eng):[30-30]")
        );
        assert_eq!(have.find(&bag("ports:[12-13,30-30]"), &role("dev")), None);
        assert_eq!(have.find(&bag("zones:{b}"), &role("dev")).unwrap(), bag("zones:{b}"));
        assert_eq!(have.find(&bag("zones:{c}"), &role("dev")), None);
    }
}
