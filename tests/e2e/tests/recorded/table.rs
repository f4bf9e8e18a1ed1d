//! Reads the table of answers, and the list of differences.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::Tree;

/// What is to be answered.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) status: u16,
    /// As the header says it; `-` for none.
    pub(crate) kind: String,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// A text, `<...>` standing for what varies.
    Text(String),
    Shape(Tree),
}

/// All of the table, by the names of answers.
///
/// # Panics
/// A table that is not written as it says itself.
pub(crate) fn read(text: &str) -> BTreeMap<String, Expected> {
    let (mut nouns, mut words) = (BTreeMap::new(), BTreeMap::new());
    let mut all = BTreeMap::new();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let (head, rest) = block.split_once('\n').unwrap_or((block, ""));
        if let Some(name) = head.strip_prefix("words ") {
            words.insert(name.to_owned(), rest.split_whitespace().map(str::to_owned).collect());
            continue;
        }
        if let Some(name) = head.strip_prefix("noun ") {
            let shape = Reader::read(rest, (&nouns, &words), name);
            nouns.insert(name.to_owned(), shape);
            continue;
        }
        let name = head.strip_prefix("== ").unwrap_or_else(|| panic!("no head of an answer: {head}"));
        let (line, rest) = rest.split_once('\n').unwrap_or((rest, ""));
        let (status, kind) =
            line.split_once(' ').unwrap_or_else(|| panic!("{name}: no status and type: {line}"));
        let body = match kind {
            "application/json" => Body::Shape(Reader::read(rest, (&nouns, &words), name)),
            _ => Body::Text(rest.to_owned()),
        };
        let status = status.parse().unwrap_or_else(|_| panic!("{name}: no status: {status}"));
        // Several answers may be alike.
        for name in name.split(", ") {
            let tree = match &body {
                Body::Shape(tree) => Body::Shape(tree.clone()),
                Body::Text(text) => Body::Text(text.clone()),
            };
            let expected = Expected { status, kind: kind.to_owned(), body: tree };
            assert!(all.insert(name.to_owned(), expected).is_none(), "{name} is there twice");
        }
    }
    all
}

/// A shape, word by word.
struct Reader<'a> {
    words: std::iter::Peekable<std::vec::IntoIter<String>>,
    nouns: &'a BTreeMap<String, Tree>,
    vocabulary: &'a Words,
    of: &'a str,
}

/// Lists of words of the protocol, by their names.
type Words = BTreeMap<String, BTreeSet<String>>;

impl<'a> Reader<'a> {
    fn read(text: &str, known: (&'a BTreeMap<String, Tree>, &'a Words), of: &'a str) -> Tree {
        let spaced = text.replace('{', " { ").replace('}', " } ");
        let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
        let (nouns, vocabulary) = known;
        let mut reader = Self { words: words.into_iter().peekable(), nouns, vocabulary, of };
        // A list has no members of its own.
        let tree = match reader.words.peek().map(String::as_str) {
            Some("[]") => {
                reader.words.next();
                Tree { items: Some(Box::new(reader.members())), ..Tree::default() }
            }
            _ => reader.members(),
        };
        assert!(reader.words.next().is_none(), "{of}: more than one shape");
        tree
    }

    /// Members up to the end of the object.
    fn members(&mut self) -> Tree {
        let mut tree = Tree { object: true, ..Tree::default() };
        while let Some(word) = self.words.next_if(|word| word != "}") {
            if let Some(noun) = word.strip_prefix('=') {
                tree.members.extend(self.noun(noun).members);
                continue;
            }
            let (name, leaf) = match word.split_once([':', '=']) {
                Some((name, leaf)) => (name, Some(leaf)),
                None => (word.as_str(), None),
            };
            let mut below = match leaf {
                Some(noun) if word.contains('=') => self.noun(noun),
                Some(leaf) => Tree { leaves: self.leaves(leaf), ..Tree::default() },
                None => self.object(),
            };
            let (name, optional) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
            let (name, list, filled) = match (name.strip_suffix("[]"), name.strip_suffix("[+]")) {
                (Some(name), _) => (name, true, false),
                (_, Some(name)) => (name, true, true),
                _ => (name, false, false),
            };
            if list {
                below = Tree { items: Some(Box::new(below)), filled, ..Tree::default() };
            }
            let (name, optional) = name.strip_suffix('?').map_or((name, optional), |name| (name, true));
            below.optional = optional;
            tree.members.insert(name.to_owned(), below);
        }
        tree
    }

    fn object(&mut self) -> Tree {
        assert_eq!(self.words.next().as_deref(), Some("{"), "{}: an object", self.of);
        let tree = self.members();
        assert_eq!(self.words.next().as_deref(), Some("}"), "{}: the end of an object", self.of);
        tree
    }

    fn leaves(&self, leaf: &str) -> BTreeSet<String> {
        let one = |leaf: &str| match self.vocabulary.get(leaf) {
            Some(words) => words.clone(),
            None => BTreeSet::from([leaf.to_owned()]),
        };
        leaf.split('|').flat_map(one).collect()
    }

    fn noun(&self, name: &str) -> Tree {
        self.nouns.get(name).cloned().unwrap_or_else(|| panic!("{}: no noun {name}", self.of))
    }
}

/// The differences that are meant, as (answer, difference), out of the table under its heading in the document.
///
/// # Panics
/// A document without it, or a row that gives no reason.
pub(crate) fn differences(document: &str) -> BTreeSet<(String, String)> {
    let (_, section) = document.split_once("\n## Answer by answer\n").expect("the list is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Answer"));
    let mut all = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [answers, difference, reason] = cells[..] else { panic!("not three cells: {row}") };
        assert!(!reason.is_empty(), "no reason: {row}");
        for answer in answers.split(", ") {
            for difference in difference.split('`').skip(1).step_by(2) {
                assert!(all.insert((answer.to_owned(), difference.to_owned())), "twice: {row}");
            }
        }
    }
    all
}
