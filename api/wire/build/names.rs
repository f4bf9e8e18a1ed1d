//! What prost calls things in Rust. It keeps these rules to itself, so they are repeated here; a slip does not
//! compile.

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_types::FileDescriptorProto;

/// Keywords of Rust among the names of the API.
const KEYWORDS: [&str; 8] = ["type", "else", "enum", "in", "mod", "move", "ref", "use"];

/// The identifier of a field or a module.
pub(crate) fn snake(name: &str) -> String {
    let snake = name.to_snake_case();
    if KEYWORDS.contains(&snake.as_str()) { format!("r#{snake}") } else { snake }
}

/// The identifier of a type or a variant.
pub(crate) fn camel(name: &str) -> String {
    name.to_upper_camel_case()
}

/// The full name of a message as descriptors refer to it: `.mesos.v1.Offer.Operation`.
pub(crate) fn full(file: &FileDescriptorProto, outer: &[&str], name: &str) -> String {
    let mut full = format!(".{}", file.package());
    for part in outer.iter().chain([&name]) {
        full.push('.');
        full += part;
    }
    full
}

/// The path of the type with this full name. Packages are in lower case, types are not.
pub(crate) fn path(full: &str) -> String {
    let mut path = "crate::generated".to_owned();
    let parts = full.trim_start_matches('.').split('.').collect::<Vec<_>>();
    for part in &parts[..parts.len() - 1] {
        path += "::";
        path += &snake(part);
    }
    path += "::";
    path += &camel(parts[parts.len() - 1]);
    path
}

/// The path of the module with what is nested in the message of this full name.
pub(crate) fn module(full: &str) -> String {
    let mut path = "crate::generated".to_owned();
    for part in full.trim_start_matches('.').split('.') {
        path += "::";
        path += &snake(part);
    }
    path
}
