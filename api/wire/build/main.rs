//! Turns the `.proto` files into Rust, without `protoc`: the types by prost, and what prost does not have, the
//! JSON dialect and the check for required fields, from the same descriptors.

mod json;
mod messages;
mod names;
mod schema;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use prost_types::{DescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build");
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let messages = messages::Messages::of(&descriptors);
    fs::write(out.join("json.rs"), json::generate(&messages))?;
    fs::write(out.join("schema.rs"), schema::generate(&messages))?;
    fs::write(out.join("all.rs"), json::list(&messages))?;
    types(descriptors)
}

/// Every `.proto` file below `directory`: a new one needs no mention here.
fn collect(directory: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            into.push(path);
        }
    }
    Ok(())
}

fn types(mut descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    // `deprecated` steers what the JSON prints. As an attribute of the Rust field it would only make each
    // reader of `role`, which the protocol still needs, switch off a lint.
    for message in descriptors.file.iter_mut().flat_map(|file| &mut file.message_type) {
        approve(message);
    }
    prost_build::Config::new()
        .btree_map(["."])
        .bytes(["."])
        .compile_well_known_types()
        .include_file("tree.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

fn approve(message: &mut DescriptorProto) {
    for options in message.field.iter_mut().filter_map(|field| field.options.as_mut()) {
        options.deprecated = None;
    }
    message.nested_type.iter_mut().for_each(approve);
}
