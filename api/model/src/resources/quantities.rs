//! Amounts by name, wherever they lie and whatever they are reserved to: what quotas speak of.

use std::fmt;
use std::ops::{AddAssign, SubAssign};

use super::bag::{Bag, Item};
use super::key::Name;
use crate::quantity::Quantity;

/// Scalar amounts by name. A name with an amount of zero is not the same as no such name: a limit of zero is a limit.
///
/// There are three to six names, for which a sorted vector beats a tree.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Quantities(Vec<(Name, Quantity)>);

impl Quantities {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether no name has an amount, not even one of zero.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &Name) -> Option<Quantity> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, amount)| *amount)
    }

    /// The amount of a name; zero where there is none.
    pub fn of(&self, name: &Name) -> Quantity {
        self.get(name).unwrap_or_default()
    }

    pub fn set(&mut self, name: Name, amount: Quantity) {
        *self.entry(name) = amount;
    }

    /// Stops at the largest amount there is.
    pub fn add(&mut self, name: &Name, amount: Quantity) {
        let own = self.entry(name.clone());
        *own = own.saturating_add(amount);
    }

    /// Stops at zero.
    pub fn subtract(&mut self, name: &Name, amount: Quantity) {
        if let Some((_, own)) = self.0.iter_mut().find(|(own, _)| own == name) {
            *own = own.saturating_sub(amount);
        }
    }

    fn entry(&mut self, name: Name) -> &mut Quantity {
        let at = match self.0.binary_search_by(|(own, _)| own.cmp(&name)) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (name, Quantity::ZERO));
                at
            }
        };
        &mut self.0[at].1
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Name, Quantity)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// The scalars of a bag that pass the test.
    pub fn of_bag(bag: &Bag, test: impl Fn(&Item) -> bool) -> Self {
        let mut all = Self::new();
        for item in bag.iter().filter(|item| test(item)) {
            let amount = item.value().quantity();
            if !amount.is_zero() {
                all.add(item.name(), amount);
            }
        }
        all
    }

    /// The first name of which `other` has more.
    pub fn exceeded_by<'a>(&self, other: &'a Self) -> Option<&'a Name> {
        other.iter().find(|(name, amount)| *amount > self.of(name)).map(|(name, _)| name)
    }

    /// Without the names whose amount is zero.
    pub fn without_zeros(mut self) -> Self {
        self.0.retain(|(_, amount)| !amount.is_zero());
        self
    }
}

impl AddAssign<&Self> for Quantities {
    fn add_assign(&mut self, other: &Self) {
        other.iter().for_each(|(name, amount)| self.add(name, amount));
    }
}

impl SubAssign<&Self> for Quantities {
    fn sub_assign(&mut self, other: &Self) {
        other.iter().for_each(|(name, amount)| self.subtract(name, amount));
    }
}

impl FromIterator<(Name, Quantity)> for Quantities {
    fn from_iter<I: IntoIterator<Item = (Name, Quantity)>>(amounts: I) -> Self {
        let mut all = Self::new();
        for (name, amount) in amounts {
            all.add(&name, amount);
        }
        all
    }
}

/// As operators read it: `cpus:64; disk:100000; mem:64000`.
impl fmt::Display for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, amount)) in self.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{name}:{amount}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Quantities {
        Quantities::of_bag(&Bag::parse(text).unwrap(), |_| true)
    }

    #[test]
    fn a_bag_counts_by_name_whatever_it_is_reserved_to() {
        let sum = all("cpus:2;cpus(a):1.5;mem:100;ports:[1-5]");
        assert_eq!(sum.to_string(), "cpus:3.5; mem:100");
    }

    #[test]
    fn adding_and_taking_stop_at_the_ends() {
        let mut sum = all("cpus:2;mem:100");
        sum -= &all("cpus:3;disk:7");
        assert_eq!(sum.to_string(), "cpus:0; mem:100");
        sum += &all("cpus:1;disk:7");
        assert_eq!(sum.to_string(), "cpus:1; disk:7; mem:100");
        assert_eq!(sum.get(&Name::Gpus), None);
    }

    #[test]
    fn the_first_excess_is_named() {
        let have = all("cpus:2;mem:100");
        assert_eq!(have.exceeded_by(&all("cpus:2;mem:100")), None);
        assert_eq!(have.exceeded_by(&all("cpus:1;gpus:1")), Some(&Name::Gpus));
    }
}
