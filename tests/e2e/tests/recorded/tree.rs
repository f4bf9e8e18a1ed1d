//! What a JSON document consists of: its members, what each is, and of words of the protocol which.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A place in documents of one kind, over all of them that were seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tree {
    /// Members of an object; [`ANY`] where names say nothing.
    pub(crate) members: BTreeMap<String, Self>,
    /// What lists have in them.
    pub(crate) items: Option<Box<Self>>,
    /// `s`, `n`, `b`, or words of the protocol.
    pub(crate) leaves: BTreeSet<String>,
    /// An object or a list was there, with or without something in it.
    pub(crate) object: bool,
    /// In a table: not everywhere.
    pub(crate) optional: bool,
    /// In a table: a list with something in it.
    pub(crate) filled: bool,
}

/// Any name.
pub(crate) const ANY: &str = "*";

impl Tree {
    /// Adds what a document has. The names of members that the table does not name are kept; where it says any name, they
    /// are one.
    pub(crate) fn add(&mut self, value: &Value, table: Option<&Self>) {
        match value {
            Value::Object(members) => {
                self.object = true;
                let known = table.map(|table| &table.members);
                for (name, value) in members {
                    let any = known.and_then(|known| known.get(ANY));
                    let name = if any.is_some() { ANY } else { name.as_str() };
                    let below = known.and_then(|known| known.get(name));
                    self.members.entry(name.to_owned()).or_default().add(value, below);
                }
            }
            Value::Array(items) => {
                let below = table.and_then(|table| table.items.as_deref());
                let own = self.items.get_or_insert_default();
                items.iter().for_each(|item| own.add(item, below));
            }
            Value::String(text) => {
                let words = table.is_some_and(|table| table.leaves.iter().any(|leaf| leaf.len() > 1));
                self.leaf(if words { text } else { "s" });
            }
            Value::Number(_) => self.leaf("n"),
            Value::Bool(_) => self.leaf("b"),
            Value::Null => self.leaf("null"),
        }
    }

    fn leaf(&mut self, leaf: &str) {
        self.leaves.insert(leaf.to_owned());
    }

    /// Nothing was here.
    fn empty(&self) -> bool {
        !self.object && self.items.is_none() && self.leaves.is_empty()
    }

    /// How what was seen differs from what a table says, a phrase for each place.
    pub(crate) fn differences(&self, table: &Self, at: &str, found: &mut Vec<String>) {
        // Of a list that never had anything in it nothing can be said.
        if self.empty() {
            return;
        }
        for (name, expected) in &table.members {
            let place = join(at, name);
            match self.members.get(name) {
                Some(seen) => seen.differences(expected, &place, found),
                None if expected.optional || name == ANY || !self.object => {}
                None => found.push(format!("no {place}")),
            }
        }
        for name in self.members.keys().filter(|name| !table.members.contains_key(*name)) {
            found.push(format!("also {}", join(at, name)));
        }
        match (&self.items, &table.items) {
            (Some(seen), Some(_)) if table.filled && seen.empty() => found.push(format!("nothing in {at}[]")),
            (Some(seen), Some(expected)) => seen.differences(expected, &format!("{at}[]"), found),
            (Some(_), None) => found.push(format!("a list: {at}")),
            (None, Some(_)) => found.push(format!("no list: {at}")),
            (None, None) => {}
        }
        for leaf in self.leaves.difference(&table.leaves) {
            found.push(format!("{leaf}: {at}"));
        }
    }
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}
