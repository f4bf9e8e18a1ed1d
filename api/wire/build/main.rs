//! Turns the `.proto` files into Rust: the types by prost, without `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build");
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    types(descriptors)?;
    Ok(())
}

/// Every `.proto` file below `directory`: a new one needs no mention here.
fn collect(directory: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
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
        for field in &mut message.field {
            if let Some(options) = &mut field.options {
                options.deprecated = None;
            }
        }
    }
    prost_build::Config::new()
        .btree_map(["."])
        .bytes(["."])
        .compile_well_known_types()
        .include_file("tree.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
