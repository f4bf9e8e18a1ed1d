//! Code that writes and reads each message as JSON, see `src/json`.

use std::fmt::Write;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};

use crate::messages::{Message, Messages};
use crate::names;

/// Lists that are printed also when empty: the first implementation of the protocol prints the top lists of its
/// state answers by hand, and clients rely on their being there.
const ALWAYS_PRINTED: [(&str, &[&str]); 7] = [
    (".mesos.v1.master.Response.GetTasks", &["tasks", "unreachable_tasks", "completed_tasks"]),
    (".mesos.v1.master.Response.GetExecutors", &["executors"]),
    (".mesos.v1.master.Response.GetFrameworks", &["frameworks", "completed_frameworks"]),
    (".mesos.v1.master.Response.GetAgents", &["agents", "recovered_agents"]),
    (
        ".mesos.v1.agent.Response.GetTasks",
        &["pending_tasks", "queued_tasks", "launched_tasks", "terminated_tasks", "completed_tasks"],
    ),
    (".mesos.v1.agent.Response.GetExecutors", &["executors", "completed_executors"]),
    (".mesos.v1.agent.Response.GetFrameworks", &["frameworks", "completed_frameworks"]),
];

/// Only the public API has a JSON form; `Duration` has one written by hand.
fn wanted(message: &Message<'_>) -> bool {
    message.full.starts_with(".mesos.v1.")
}

pub(crate) fn generate(messages: &Messages<'_>) -> String {
    let mut out = String::new();
    for message in messages.all.values().filter(|message| wanted(message)) {
        let generator = Generator { messages, message, descriptor: message.descriptor };
        let path = names::path(&message.full);
        let required = generator.required();
        let writes = generator.writes();
        let reads = generator.reads();
        let _ = write!(
            out,
            "impl Json for {path} {{\n\
             fn required(&self) -> &'static [&'static str] {{ &{required:?} }}\n\
             fn write_members(&self, writer: &mut Writer<'_>) {{\n{writes}}}\n\
             fn read_member(&mut self, name: &str, reader: &mut Reader<'_>) -> Result<u64, Stop> {{\n\
             Ok(match name {{\n{reads}_ => {{ reader.skip()?; 0 }}\n}})\n}}\n}}\n"
        );
    }
    out
}

/// A list of all messages with a JSON form, for the tests: their full names and what `recode` makes of them.
pub(crate) fn list(messages: &Messages<'_>) -> String {
    let rows = messages.all.values().filter(|message| wanted(message)).map(|message| {
        let full = &message.full;
        format!("({:?}, recode::<{}>),\n", full.trim_start_matches('.'), names::path(full))
    });
    format!("[\n{}]\n", rows.collect::<String>())
}

struct Generator<'a> {
    messages: &'a Messages<'a>,
    message: &'a Message<'a>,
    descriptor: &'a DescriptorProto,
}

impl Generator<'_> {
    fn required(&self) -> Vec<&str> {
        let required = self.descriptor.field.iter().filter(|field| field.label() == Label::Required);
        required.map(FieldDescriptorProto::name).collect()
    }

    fn writes(&self) -> String {
        let mut out = String::new();
        let mut oneofs = Vec::new();
        for field in &self.descriptor.field {
            match field.oneof_index {
                None => out += &self.write(field),
                Some(index) if oneofs.contains(&index) => {}
                Some(index) => {
                    oneofs.push(index);
                    out += &self.write_oneof(index);
                }
            }
        }
        out
    }

    fn write(&self, field: &FieldDescriptorProto) -> String {
        let (name, ident) = (field.name(), names::snake(field.name()));
        if let Some(entry) = self.messages.map_entries.get(field.type_name()) {
            let value = write_value(&entry.field[1], "v");
            return format!(
                "if !self.{ident}.is_empty() {{ writer.key({name:?}); \
                 writer.map(self.{ident}.iter(), |writer, v| {{ {value} }}); }}\n"
            );
        }
        match field.label() {
            Label::Required => write_present(field, &format!("&self.{ident}")),
            Label::Optional if prints_default(field) && field.r#type() == Type::Enum => {
                format!("writer.key({name:?}); writer.word(self.{ident}().as_str_name());\n")
            }
            Label::Optional if prints_default(field) => write_present(field, &format!("&self.{ident}()")),
            Label::Optional => {
                format!("if let Some(v) = &self.{ident} {{ {} }}\n", write_present(field, "v"))
            }
            Label::Repeated => self.write_list(field),
        }
    }

    fn write_list(&self, field: &FieldDescriptorProto) -> String {
        let (name, ident) = (field.name(), names::snake(field.name()));
        let always = ALWAYS_PRINTED
            .iter()
            .any(|(message, fields)| *message == self.message.full && fields.contains(&name));
        let condition = if always { String::new() } else { format!("if !self.{ident}.is_empty()") };
        if field.r#type() == Type::Enum {
            let path = names::path(field.type_name());
            return format!(
                "{condition} {{ writer.key({name:?}); writer.words(self.{ident}.iter()\
                 .filter_map(|v| {path}::try_from(*v).ok()).map(|v| v.as_str_name())); }}\n"
            );
        }
        let value = write_value(field, "v");
        format!(
            "{condition} {{ writer.key({name:?}); writer.list(&self.{ident}, |writer, v| {{ {value} }}); }}\n"
        )
    }

    fn write_oneof(&self, index: i32) -> String {
        let oneof = &self.descriptor.oneof_decl[index as usize];
        let members = self.descriptor.field.iter().filter(|field| field.oneof_index == Some(index));
        let mut arms = String::new();
        for field in members {
            let variant = self.variant(field);
            let _ = writeln!(arms, "Some({variant}(v)) => {{ {} }}", write_present(field, "v"));
        }
        format!("match &self.{} {{\n{arms}None => {{}}\n}}\n", names::snake(oneof.name()))
    }

    fn variant(&self, field: &FieldDescriptorProto) -> String {
        let oneof = &self.descriptor.oneof_decl[field.oneof_index() as usize];
        format!(
            "{}::{}::{}",
            names::module(&self.message.full),
            names::camel(oneof.name()),
            names::camel(field.name())
        )
    }

    fn reads(&self) -> String {
        let mut out = String::new();
        let mut bit = 0;
        for field in &self.descriptor.field {
            let (name, read) = (field.name(), self.read(field));
            if field.label() == Label::Required {
                let _ = writeln!(out, "{name:?} => {{ {read} 1 << {bit} }}");
                bit += 1;
            } else {
                let _ = writeln!(out, "{name:?} => {{ {read} 0 }}");
            }
        }
        out
    }

    /// A member that stands twice in an object counts as it stands last, hence the clearing.
    fn read(&self, field: &FieldDescriptorProto) -> String {
        let ident = names::snake(field.name());
        if let Some(entry) = self.messages.map_entries.get(field.type_name()) {
            let value = &entry.field[1];
            let insert = match read_value(value) {
                Some(read) => format!("let v = {read}; all.insert(key, v); Ok(())"),
                None => "reader.message(all.entry(key).or_default())".to_owned(),
            };
            return format!(
                "let all = &mut self.{ident}; all.clear(); reader.entries(&mut |reader, key| {{ {insert} }})?;"
            );
        }
        if field.oneof_index.is_some() {
            return self.read_alternative(field);
        }
        match (field.label(), field.r#type()) {
            (Label::Repeated, Type::Message) => format!(
                "let all = &mut self.{ident}; all.clear(); \
                 reader.elements(&mut |reader| reader.message(grow(all)))?;"
            ),
            (Label::Repeated, Type::Enum) => format!(
                "let all = &mut self.{ident}; all.clear(); \
                 reader.elements(&mut |reader| {{ all.extend(reader.enumeration({})?); Ok(()) }})?;",
                number_of(field)
            ),
            (Label::Repeated, _) => format!(
                "let all = &mut self.{ident}; all.clear(); \
                 reader.elements(&mut |reader| {{ all.push({}); Ok(()) }})?;",
                read_value(field).unwrap_or_default()
            ),
            (Label::Required, Type::Message) => {
                format!("self.{ident} = Default::default(); reader.message(&mut self.{ident})?;")
            }
            (Label::Optional, Type::Message) => {
                format!("reader.message(self.{ident}.insert(Default::default()))?;")
            }
            (Label::Required, Type::Enum) => {
                format!("self.{ident} = reader.required_enumeration({})?;", number_of(field))
            }
            (Label::Optional, Type::Enum) => {
                format!("self.{ident} = reader.enumeration({})?;", number_of(field))
            }
            (Label::Required, _) => format!("self.{ident} = {};", read_value(field).unwrap_or_default()),
            (Label::Optional, _) => {
                format!("self.{ident} = Some({});", read_value(field).unwrap_or_default())
            }
        }
    }

    /// One of several fields that exclude each other.
    fn read_alternative(&self, field: &FieldDescriptorProto) -> String {
        let slot = names::snake(self.descriptor.oneof_decl[field.oneof_index() as usize].name());
        let variant = self.variant(field);
        match field.r#type() {
            Type::Message => format!(
                "let mut v = {}::default(); reader.message(&mut v)?; self.{slot} = Some({variant}(v));",
                names::path(field.type_name())
            ),
            Type::Enum => format!(
                "if let Some(v) = reader.enumeration({})? {{ self.{slot} = Some({variant}(v)); }}",
                number_of(field)
            ),
            _ => format!("self.{slot} = Some({variant}({}));", read_value(field).unwrap_or_default()),
        }
    }
}

/// Whether an unset field is printed with its declared default.
fn prints_default(field: &FieldDescriptorProto) -> bool {
    let deprecated = field.options.as_ref().is_some_and(|options| options.deprecated());
    field.default_value.is_some() && !deprecated
}

/// Writes key and value, given an expression for a reference to the value. An enum whose number has no name, as
/// may come in protobuf, is left out, here as in lists.
fn write_present(field: &FieldDescriptorProto, reference: &str) -> String {
    let name = field.name();
    if field.r#type() == Type::Enum {
        let path = names::path(field.type_name());
        return format!(
            "if let Ok(known) = {path}::try_from(*{reference}) {{ \
             writer.key({name:?}); writer.word(known.as_str_name()); }}\n"
        );
    }
    format!("writer.key({name:?}); {}\n", write_value(field, reference))
}

/// Writes a value alone, given an expression for a reference to it.
fn write_value(field: &FieldDescriptorProto, reference: &str) -> String {
    match field.r#type() {
        Type::String => format!("writer.text({reference});"),
        Type::Bytes => format!("writer.bytes({reference});"),
        Type::Bool => format!("writer.boolean(*{reference});"),
        Type::Double => format!("writer.double(*{reference});"),
        Type::Message => format!("writer.message({reference});"),
        Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 => format!("writer.integer(*{reference});"),
        other => panic!("fields of {other:?} have no JSON form yet"),
    }
}

/// An expression that reads a value, unless it is a message.
fn read_value(field: &FieldDescriptorProto) -> Option<String> {
    let expression = match field.r#type() {
        Type::String => "reader.text()?",
        Type::Bytes => "reader.bytes()?",
        Type::Bool => "reader.boolean()?",
        Type::Double => "reader.double()?",
        Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 => "reader.integer()?",
        Type::Message => return None,
        other => panic!("fields of {other:?} have no JSON form yet"),
    };
    Some(expression.to_owned())
}

/// A function from the names of an enum to its numbers.
fn number_of(field: &FieldDescriptorProto) -> String {
    format!("|name| {}::from_str_name(name).map(|known| known as i32)", names::path(field.type_name()))
}
