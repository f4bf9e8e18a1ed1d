//! Conversations with a master, as text: a command, `----`, and everything the master does about it.
//!
//! The files are in `tests/transcripts/master`. After a change of behaviour run with `UPDATE_EXPECT=1` and read the
//! difference as what it is: what schedulers, agents and operators will notice.

use std::fs;
use std::path::PathBuf;

use expect_test::expect_file;

use crate::world::script::Script;

#[test]
fn transcripts() {
    // Asked at run time: a checkout that shares its target directory may run what another checkout has compiled.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo runs this and names the crate's folder");
    let folder = PathBuf::from(here).join("../../tests/transcripts/master");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of transcripts")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(files.len() > 10, "the transcripts are gone from {}", folder.display());
    for file in files {
        let text = fs::read_to_string(&file).expect("a transcript is text");
        let replayed = Script::new().replay(&text);
        assert_eq!(replayed, Script::new().replay(&text), "{} differs from run to run", file.display());
        expect_file![&file].assert_eq(&replayed);
    }
}
