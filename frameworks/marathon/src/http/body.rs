//! Reading request documents: what is not JSON, what is not the right JSON, and where.

use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::marathon::FieldErrors;

/// Why a body is not the document asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum BodyError {
    Empty,
    /// Not JSON at all, or nested too deeply; with the parser's words.
    Syntax(String),
    /// A value of the wrong type, or none where one is needed.
    Type(Vec<FieldErrors>),
}

/// Reads a document. The parser refuses to nest deeper than 128 levels, so a bomb of brackets costs a few bytes.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(BodyError::Empty);
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize(&mut reader) {
        Ok(document) => match reader.end() {
            Ok(()) => Ok(document),
            Err(error) => Err(BodyError::Syntax(error.to_string())),
        },
        Err(error) if error.inner().is_data() => {
            let path = path(error.path());
            let reason = error.into_inner().to_string();
            // The position is that of the reader, which has gone past the value.
            let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
            // A second look tells bad syntax further on from a bad type here.
            match serde_json::from_slice::<Value>(body) {
                Err(error) => Err(BodyError::Syntax(error.to_string())),
                Ok(_) => Err(BodyError::Type(vec![field_errors(path, &reason)])),
            }
        }
        Err(error) => Err(BodyError::Syntax(error.into_inner().to_string())),
    }
}

/// A path as the API writes it: `/name` for a step, `(0)` for a position, `/` for the whole.
fn path(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let text: String = path
        .iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("({index})"),
            Segment::Map { key } => format!("/{key}"),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect();
    if text.is_empty() { "/".to_owned() } else { text }
}

/// The code clients of the original know, then a sentence for people.
fn field_errors(mut path: String, reason: &str) -> FieldErrors {
    if let Some(field) = reason.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        path = if path == "/" { format!("/{field}") } else { format!("{path}/{field}") };
        return FieldErrors { path, errors: vec!["error.path.missing".to_owned(), "is required".to_owned()] };
    }
    let code = reason.rsplit_once("expected ").and_then(|(_, wanted)| code(wanted));
    FieldErrors { path, errors: code.map(str::to_owned).into_iter().chain([reason.to_owned()]).collect() }
}

fn code(wanted: &str) -> Option<&'static str> {
    let starts = |words: &[&str]| words.iter().any(|word| wanted.starts_with(word));
    if starts(&["a string"]) {
        Some("error.expected.jsstring")
    } else if starts(&["f64", "i64", "u64", "u32", "u16", "a number"]) {
        Some("error.expected.jsnumber")
    } else if starts(&["a boolean"]) {
        Some("error.expected.jsboolean")
    } else if starts(&["a sequence", "an array"]) {
        Some("error.expected.jsarray")
    } else if starts(&["a map", "struct", "an object"]) {
        Some("error.expected.jsobject")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use wire::marathon::{App, KillTasks};

    use super::*;

    fn check<T: DeserializeOwned>(body: &str, expected: &Expect) {
        let text = match decode::<T>(body.as_bytes()) {
            Ok(_) => "fine".to_owned(),
            Err(BodyError::Empty) => "empty".to_owned(),
            Err(BodyError::Syntax(reason)) => format!("syntax: {reason}"),
            Err(BodyError::Type(errors)) => serde_json::to_string(&errors).unwrap(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn what_is_wrong_is_named() {
        check::<App>(r#"{"id":"/a","ports":null,"dependencies":null}"#, &expect!["fine"]);
        check::<App>(" \n", &expect!["empty"]);
        check::<App>("{", &expect![]);
        check::<App>(r#"{"id":"/a"} x"#, &expect![]);
        check::<App>(r#"{"id":7}"#, &expect![]);
        check::<App>(r#"{"id":7,"#, &expect![]);
        check::<App>(r#"[]"#, &expect![]);
        check::<App>(r#"{"instances":"3"}"#, &expect![]);
        check::<App>(r#"{"cpus":NaN}"#, &expect![]);
        check::<App>(r#"{"portDefinitions":[{},{"name":[]}]}"#, &expect![]);
        check::<App>(r#"{"requirePorts":"yes"}"#, &expect![]);
        check::<App>(r#"{"env":{"A":1}}"#, &expect![]);
        check::<App>(r#"{"constraints":["hostname"]}"#, &expect![]);
        check::<App>(r#"{"healthChecks":{}}"#, &expect![]);
        check::<App>(&format!(r#"{{"container":{}"#, "[".repeat(100_000)), &expect![]);
        check::<KillTasks>("{}", &expect![]);
        check::<KillTasks>(r#"{"ids":"x"}"#, &expect![]);
    }
}
