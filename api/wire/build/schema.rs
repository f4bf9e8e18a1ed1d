//! Tables of the fields to look at for missing ones, see `src/protobuf.rs`.

use std::collections::BTreeSet;
use std::fmt::Write;

use prost_types::FieldDescriptorProto;
use prost_types::field_descriptor_proto::{Label, Type};

use crate::messages::Messages;
use crate::names;

pub(crate) fn generate(messages: &Messages<'_>) -> String {
    let incomplete = may_be_incomplete(messages);
    let mut out = String::new();
    for message in messages.all.values() {
        let mut fields = message.descriptor.field.iter().collect::<Vec<_>>();
        fields.sort_by_key(|field| field.number());
        let rows = fields.iter().filter_map(|field| row(field, messages, &incomplete)).collect::<String>();
        let (path, name, table) =
            (names::path(&message.full), message.descriptor.name(), table(&message.full));
        let _ = write!(
            out,
            "static {table}: Schema = Schema {{ fields: &[{rows}] }};\n\
             impl Described for {path} {{\n\
             const NAME: &'static str = {name:?};\nconst SCHEMA: &'static Schema = &{table};\n}}\n"
        );
    }
    out
}

/// The messages that have a required field, or hold one that has.
fn may_be_incomplete(messages: &Messages<'_>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    loop {
        let before = found.len();
        for (name, descriptor) in messages
            .all
            .iter()
            .map(|(name, message)| (name, message.descriptor))
            .chain(messages.map_entries.iter().map(|(name, entry)| (name, *entry)))
        {
            let holds = |field: &FieldDescriptorProto| {
                field.label() == Label::Required
                    || (field.r#type() == Type::Message && found.contains(field.type_name()))
            };
            if descriptor.field.iter().any(holds) {
                found.insert(name.clone());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn row(
    field: &FieldDescriptorProto,
    messages: &Messages<'_>,
    incomplete: &BTreeSet<String>,
) -> Option<String> {
    let required = field.label() == Label::Required;
    let content = match field.r#type() {
        Type::Message if messages.map_entries.contains_key(field.type_name()) => {
            map(field, messages, incomplete)?
        }
        Type::Message if incomplete.contains(field.type_name()) => {
            let repeated = field.label() == Label::Repeated;
            format!("Content::Message {{ schema: &{}, repeated: {repeated} }}", table(field.type_name()))
        }
        Type::Enum if required => format!("Content::Enum({}::is_valid)", names::path(field.type_name())),
        _ if required => "Content::Scalar".to_owned(),
        _ => return None,
    };
    let (number, name) = (field.number(), field.name());
    Some(format!("Field {{ number: {number}, name: {name:?}, required: {required}, content: {content} }}, "))
}

/// A map is a list of entries, whose value is field 2.
fn map(
    field: &FieldDescriptorProto,
    messages: &Messages<'_>,
    incomplete: &BTreeSet<String>,
) -> Option<String> {
    let entry = messages.map_entries[field.type_name()];
    let value = entry.field.iter().find(|field| field.number() == 2)?;
    if value.r#type() != Type::Message || !incomplete.contains(value.type_name()) {
        return None;
    }
    Some(format!(
        "Content::Message {{ repeated: true, schema: &Schema {{ fields: &[Field {{ number: 2, name: \"value\", \
         required: false, content: Content::Message {{ schema: &{}, repeated: false }} }}] }} }}",
        table(value.type_name())
    ))
}

/// The name of the table of a message.
fn table(full: &str) -> String {
    full.trim_start_matches('.').replace('.', "_").to_uppercase()
}
