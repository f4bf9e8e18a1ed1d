//! The messages of all files in one list, with what the generators ask about them.

use std::collections::BTreeMap;

use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

use crate::names;

/// A message and its full name, `.mesos.v1.Offer.Operation`.
pub(crate) struct Message<'a> {
    pub(crate) full: String,
    pub(crate) descriptor: &'a DescriptorProto,
}

/// All messages but map entries by full name, and the map entries apart.
pub(crate) struct Messages<'a> {
    pub(crate) all: BTreeMap<String, Message<'a>>,
    pub(crate) map_entries: BTreeMap<String, &'a DescriptorProto>,
}

impl<'a> Messages<'a> {
    pub(crate) fn of(descriptors: &'a FileDescriptorSet) -> Self {
        let mut messages = Self { all: BTreeMap::new(), map_entries: BTreeMap::new() };
        for file in &descriptors.file {
            for message in &file.message_type {
                messages.add(file, &mut Vec::new(), message);
            }
        }
        messages
    }

    fn add(&mut self, file: &FileDescriptorProto, outer: &mut Vec<&'a str>, descriptor: &'a DescriptorProto) {
        let full = names::full(file, outer, descriptor.name());
        if descriptor.options.as_ref().is_some_and(|options| options.map_entry()) {
            self.map_entries.insert(full, descriptor);
            return;
        }
        outer.push(descriptor.name());
        for nested in &descriptor.nested_type {
            self.add(file, outer, nested);
        }
        outer.pop();
        self.all.insert(full.clone(), Message { full, descriptor });
    }
}
