//! The bag and its algebra.

use std::cmp::Ordering;
use std::ops::{Add, AddAssign};
use std::sync::Arc;

use super::key::{Name, Tag};
use super::value::Value;
use crate::quantity::Quantity;
use crate::ranges::Ranges;
use crate::role::Role;

/// An amount of one resource.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Item {
    name: Name,
    tag: Option<Arc<Tag>>,
    value: Value,
}

impl Item {
    /// A scalar becomes whole or divisible as its tag demands.
    pub fn new(name: Name, tag: Tag, value: Value) -> Self {
        let value = match value {
            Value::Scalar(size) if tag.is_whole() => Value::Whole { size, copies: 1 },
            Value::Whole { size, .. } if !tag.is_whole() => Value::Scalar(size),
            other => other,
        };
        Self { name, tag: tag.shelve(), value }
    }

    /// Unreserved, and nothing else special either.
    pub fn plain(name: Name, value: Value) -> Self {
        Self::new(name, Tag::default(), value)
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    /// `None` for a plain resource.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_deref()
    }

    /// A copy of the tag, to be changed.
    pub(super) fn tag_or_default(&self) -> Tag {
        self.tag().cloned().unwrap_or_default()
    }

    /// The role it is reserved to, by the innermost reservation.
    pub fn reserved_to(&self) -> Option<&Role> {
        self.tag()?.reservations.last().map(|reservation| &reservation.role)
    }

    pub fn allocated_to(&self) -> Option<&Role> {
        self.tag()?.allocated.as_ref()
    }

    pub fn is_revocable(&self) -> bool {
        self.tag().is_some_and(|tag| tag.revocable)
    }

    pub fn is_shared(&self) -> bool {
        self.tag().is_some_and(|tag| tag.shared)
    }

    pub fn is_volume(&self) -> bool {
        self.tag().is_some_and(Tag::is_volume)
    }

    /// Reserved more than once, which frameworks without RESERVATION_REFINEMENT cannot read.
    pub fn is_refined(&self) -> bool {
        self.tag().is_some_and(|tag| tag.reservations.len() > 1)
    }

    /// Whether a framework in `role` may use it: it is unreserved, or reserved to the role or an enclosing one.
    pub fn is_allocatable_to(&self, role: &Role) -> bool {
        self.reserved_to().is_none_or(|owner| owner == role || owner.is_ancestor_of(role))
    }

    /// The order in a bag: by everything that keeps amounts apart.
    fn place_cmp(&self, other: &Self) -> Ordering {
        self.name
            .cmp(&other.name)
            .then_with(|| match (&self.tag, &other.tag) {
                (Some(a), Some(b)) if Arc::ptr_eq(a, b) => Ordering::Equal,
                (a, b) => a.cmp(b),
            })
            .then_with(|| self.value.place().cmp(&other.value.place()))
    }
}

/// Resources in normal form: sorted by identity, one item for each, none empty.
///
/// Nearly all bags have four to six items, for which a sorted vector beats a tree in every operation and copies
/// with a single allocation.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Bag {
    items: Vec<Item>,
}

/// What a subtraction asked for and the bag has not got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{have} does not contain {wanted}")]
pub struct Lacking {
    pub have: Bag,
    pub wanted: Item,
}

impl Bag {
    pub const fn new() -> Self {
        Self { items: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Item> {
        self.items.iter()
    }

    fn find_place(&self, item: &Item) -> Result<usize, usize> {
        // Short bags dominate, and there a straight walk beats bisection.
        for (i, ours) in self.items.iter().enumerate() {
            match ours.place_cmp(item) {
                Ordering::Less => {}
                Ordering::Equal => return Ok(i),
                Ordering::Greater => return Err(i),
            }
        }
        Err(self.items.len())
    }

    /// Adds one item; an empty one changes nothing.
    pub fn insert(&mut self, item: Item) {
        if item.value.is_empty() {
            return;
        }
        match self.find_place(&item) {
            Ok(i) => self.items[i].value.add(&item.value),
            Err(i) => self.items.insert(i, item),
        }
    }

    /// As [`Self::insert`], but hands the item back when adding it would count a number or a name twice, or run
    /// over the largest amount.
    pub fn try_insert(&mut self, item: Item) -> Result<(), Item> {
        if let Ok(i) = self.find_place(&item)
            && self.items[i].value.collides(&item.value)
        {
            return Err(item);
        }
        self.insert(item);
        Ok(())
    }

    /// Whether all of `other` is here, item by item: a reserved amount does not stand in for an unreserved one.
    pub fn contains(&self, other: &Self) -> bool {
        self.lacks(other).is_none()
    }

    fn lacks<'a>(&self, other: &'a Self) -> Option<&'a Item> {
        other.items.iter().find(|theirs| match self.find_place(theirs) {
            Ok(i) => !self.items[i].value.contains(&theirs.value),
            Err(_) => true,
        })
    }

    /// `self - other`, refused when some of `other` is not here.
    pub fn checked_sub(&self, other: &Self) -> Result<Self, Lacking> {
        match self.lacks(other) {
            Some(wanted) => Err(Lacking { have: self.clone(), wanted: wanted.clone() }),
            None => Ok(self.without(other)),
        }
    }

    /// What is left of `self` when everything of `other` that is here has been taken.
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.remove(other);
        rest
    }

    /// As [`Self::without`], in place.
    pub fn remove(&mut self, other: &Self) {
        for theirs in &other.items {
            if let Ok(i) = self.find_place(theirs) {
                self.items[i].value.remove(&theirs.value);
                if self.items[i].value.is_empty() {
                    self.items.remove(i);
                }
            }
        }
    }

    pub fn filter(&self, keep: impl Fn(&Item) -> bool) -> Self {
        // A part of a normal form is one.
        Self { items: self.items.iter().filter(|item| keep(item)).cloned().collect() }
    }

    /// Divides by a test: first what passes it, then the rest.
    pub fn split(self, test: impl Fn(&Item) -> bool) -> (Self, Self) {
        let (yes, no) = self.items.into_iter().partition(test);
        (Self { items: yes }, Self { items: no })
    }

    /// Whether no item has anything but a name and an amount: the case worth a short way.
    pub fn is_plain(&self) -> bool {
        self.items.iter().all(|item| item.tag.is_none())
    }

    pub fn unreserved(&self) -> Self {
        self.filter(|item| item.reserved_to().is_none())
    }

    pub fn reserved(&self) -> Self {
        self.filter(|item| item.reserved_to().is_some())
    }

    /// Reserved to exactly this role.
    pub fn reserved_to(&self, role: &Role) -> Self {
        self.filter(|item| item.reserved_to() == Some(role))
    }

    /// What a framework in `role` may use.
    pub fn allocatable_to(&self, role: &Role) -> Self {
        if self.is_plain() {
            return self.clone();
        }
        self.filter(|item| item.is_allocatable_to(role))
    }

    /// Each item, marked as allocated to `role`.
    pub fn allocate(&self, role: &Role) -> Self {
        self.retag(|tag| tag.allocated = Some(role.clone()))
    }

    /// Without marks of allocation. Amounts apart only by them are joined.
    pub fn unallocate(&self) -> Self {
        if self.items.iter().all(|item| item.allocated_to().is_none()) {
            return self.clone();
        }
        self.retag(|tag| tag.allocated = None)
    }

    pub(super) fn retag(&self, change: impl Fn(&mut Tag)) -> Self {
        self.items
            .iter()
            .map(|item| {
                let mut tag = item.tag_or_default();
                change(&mut tag);
                Item { name: item.name.clone(), tag: tag.shelve(), value: item.value.clone() }
            })
            .collect()
    }

    /// Amounts by their names alone, however they are reserved and whatever they are for: what a reader is shown.
    pub fn by_name(&self) -> Self {
        let plain = |item: &Item| {
            let value = match &item.value {
                Value::Whole { size, .. } => Value::Scalar(*size),
                other => other.clone(),
            };
            Item::plain(item.name.clone(), value)
        };
        self.iter().map(plain).collect()
    }

    /// The sum of all scalars of a name, however reserved.
    pub fn scalar(&self, name: &Name) -> Quantity {
        self.items
            .iter()
            .filter(|item| item.name == *name)
            .fold(Quantity::ZERO, |sum, item| sum.saturating_add(item.value.quantity()))
    }

    pub fn cpus(&self) -> Quantity {
        self.scalar(&Name::Cpus)
    }

    /// In megabytes.
    pub fn mem(&self) -> Quantity {
        self.scalar(&Name::Mem)
    }

    /// In megabytes.
    pub fn disk(&self) -> Quantity {
        self.scalar(&Name::Disk)
    }

    pub fn gpus(&self) -> Quantity {
        self.scalar(&Name::Gpus)
    }

    /// All intervals of a name, however reserved.
    pub fn ranges(&self, name: &Name) -> Ranges {
        self.items.iter().filter(|item| item.name == *name).fold(Ranges::EMPTY, |all, item| {
            match &item.value {
                Value::Ranges(ranges) => all.union(ranges),
                _ => all,
            }
        })
    }

    pub fn ports(&self) -> Ranges {
        self.ranges(&Name::Ports)
    }
}

impl FromIterator<Item> for Bag {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let mut bag = Self::new();
        for item in items {
            bag.insert(item);
        }
        bag
    }
}

impl<'a> IntoIterator for &'a Bag {
    type Item = &'a Item;
    type IntoIter = std::slice::Iter<'a, Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl AddAssign<&Self> for Bag {
    fn add_assign(&mut self, other: &Self) {
        if self.is_empty() {
            self.items.clone_from(&other.items);
            return;
        }
        for item in &other.items {
            match self.find_place(item) {
                Ok(i) => self.items[i].value.add(&item.value),
                Err(i) => self.items.insert(i, item.clone()),
            }
        }
    }
}

impl Add<&Self> for Bag {
    type Output = Self;
    fn add(mut self, other: &Self) -> Self {
        self += other;
        self
    }
}

impl Add for &Bag {
    type Output = Bag;
    fn add(self, other: Self) -> Bag {
        self.clone() + other
    }
}

impl std::iter::Sum for Bag {
    fn sum<I: Iterator<Item = Self>>(bags: I) -> Self {
        bags.fold(Self::new(), |sum, bag| sum + &bag)
    }
}

impl<'a> std::iter::Sum<&'a Self> for Bag {
    fn sum<I: Iterator<Item = &'a Self>>(bags: I) -> Self {
        bags.fold(Self::new(), |sum, bag| sum + bag)
    }
}
