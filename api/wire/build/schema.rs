//! Tables of the fields to look at before a message is made of bytes, see `src/protobuf.rs`.

use std::fmt::Write;

use prost_types::FieldDescriptorProto;
use prost_types::field_descriptor_proto::{Label, Type};

use crate::messages::Messages;
use crate::names;

/// Fields seen are bits of one number.
const MOST_FIELDS: usize = 64;

pub(crate) fn generate(messages: &Messages<'_>) -> String {
    let mut out = String::new();
    for message in messages.all.values() {
        let mut fields = message.descriptor.field.iter().collect::<Vec<_>>();
        fields.sort_by_key(|field| field.number());
        let rows: Vec<String> = fields.iter().filter_map(|field| row(field, messages)).collect();
        assert!(rows.len() <= MOST_FIELDS, "{} has too many fields for its table", message.full);
        let (path, name, table) =
            (names::path(&message.full), message.descriptor.name(), table(&message.full));
        let _ = write!(
            out,
            "static {table}: Schema = Schema {{ size: size_of::<{path}>(), fields: &[{}] }};\n\
             impl Described for {path} {{\n\
             const NAME: &'static str = {name:?};\nconst SCHEMA: &'static Schema = &{table};\n}}\n",
            rows.concat()
        );
    }
    out
}

fn row(field: &FieldDescriptorProto, messages: &Messages<'_>) -> Option<String> {
    let required = field.label() == Label::Required;
    let content = match field.r#type() {
        Type::Message if messages.map_entries.contains_key(field.type_name()) => map(field, messages)?,
        Type::Message => {
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

/// A map is a list of entries, whose value is field 2. An entry's own memory is its value's.
fn map(field: &FieldDescriptorProto, messages: &Messages<'_>) -> Option<String> {
    let entry = messages.map_entries[field.type_name()];
    let value = entry.field.iter().find(|field| field.number() == 2)?;
    if value.r#type() != Type::Message {
        return None;
    }
    Some(format!(
        "Content::Message {{ repeated: true, schema: &Schema {{ size: 0, fields: &[Field {{ number: 2, name: \"value\", \
         required: false, content: Content::Message {{ schema: &{}, repeated: false }} }}] }} }}",
        table(value.type_name())
    ))
}

/// The name of the table of a message.
fn table(full: &str) -> String {
    full.trim_start_matches('.').replace('.', "_").to_uppercase()
}
