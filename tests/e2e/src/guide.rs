//! Guides whose blocks are run as a reader would type them.
//!
//! Blocks marked `sh` are run in order in one shell, which stops at the first command that fails. A block marked `text`
//! after one of them is what it prints: each line must be found in the output, in order; `…` stands for anything. A block
//! with a name, as in `python hello.py`, is a file.

use std::path::Path;
use std::process::Command;

/// Between the outputs of two blocks.
const MARK: &str = "--- guide, block ";
/// For a whole guide: past it something hangs.
const SECONDS: &str = "480";

/// A block of code in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The language, and the file's name where there is one.
    pub kind: String,
    pub text: String,
}

/// The blocks of a document, in order.
pub fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { kind: kind.to_owned(), text: text.join("\n") + "\n" });
        }
    }
    blocks
}

/// The document at `path` in the repository.
pub fn read(path: &str) -> String {
    // Where this was compiled does not say it: Cargo says at run time which crate it tests.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo runs this and names the crate's folder");
    let path = Path::new(&here).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs the document's commands in `folder`, with each `from` replaced by its `to`. Fails the test unless all succeed and
/// print what the document says.
pub fn run(document: &str, folder: &Path, replace: &[(&str, &str)]) {
    let replaced =
        |text: &str| replace.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let blocks = blocks(document);
    // Whatever runs in the background holds our end of the pipe, also when a command has failed.
    let mut script = "set -eu -o pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    for (at, block) in blocks.iter().enumerate() {
        match block.kind.split_once(' ') {
            Some((_, name)) => std::fs::write(folder.join(name), replaced(&block.text)).expect("written"),
            None if block.kind == "sh" => {
                script += &format!("echo '{MARK}{at}'\n{}", replaced(&block.text));
            }
            None => {}
        }
    }
    let run = Command::new("timeout")
        .args([SECONDS, "bash", "-c", &format!("exec 2>&1\n{script}")])
        .current_dir(folder)
        .output()
        .expect("bash and timeout are there");
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{}:\n{printed}", run.status);
    for (at, expected) in blocks.iter().enumerate().filter(|(_, block)| block.kind == "text") {
        let of = (0..at).rev().find(|at| blocks[*at].kind == "sh").expect("it is what some commands print");
        let output = printed.split(&format!("{MARK}{of}\n")).nth(1).unwrap_or_default();
        let output = output.split(MARK).next().unwrap_or_default();
        let mut lines = output.lines();
        for wanted in expected.text.lines() {
            assert!(
                lines.any(|line| matches(wanted, line)),
                "`{wanted}` does not come, or not in this place, in:\n{output}\nof:\n{printed}"
            );
        }
    }
}

/// Whether a line is as wanted, with `…` for anything.
fn matches(wanted: &str, line: &str) -> bool {
    let Some((first, others)) = wanted.split_once('…') else { return wanted == line };
    let (middle, last) = others.rsplit_once('…').unwrap_or(("", others));
    let rest = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    let Some(mut rest) = rest else { return false };
    for part in middle.split('…') {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_stands_for_anything() {
        for (wanted, line) in [("a", "a"), ("a … c", "a b c"), ("…", ""), ("a…", "abc"), ("…c", "abc")]
        {
            assert!(matches(wanted, line), "{wanted} {line}");
        }
        for (wanted, line) in
            [("a", "ab"), ("a … c", "a b"), ("…b", "abc"), ("b…", "abc"), ("", "a"), ("a…b…c", "acb")]
        {
            assert!(!matches(wanted, line), "{wanted} {line}");
        }
    }

    #[test]
    #[should_panic(expected = "`three` does not come")]
    fn what_is_not_printed_is_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        let document =
            "```sh\ncat one.txt\necho $WHAT\n```\n```txt one.txt\none\n```\n```text\none\nthree\n```\n";
        run(document, folder.path(), &[("$WHAT", "two")]);
    }

    #[test]
    #[should_panic(expected = "exit status: 7")]
    fn a_command_that_fails_fails_the_guide() {
        run("```sh\n(exit 7)\necho on\n```\n", tempfile::tempdir().expect("a folder").path(), &[]);
    }
}
