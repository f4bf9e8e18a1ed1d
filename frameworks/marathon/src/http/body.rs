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

/// Reads a list of documents; see [`decode`].
pub(crate) fn decode_list<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, BodyError> {
    read(body, |value, list: &Vec<T>| match value {
        // Anything but an array has failed before.
        Value::Array(elements) => {
            let wrong = |(at, element)| Some(format!("({at}){}", misshapen(element)?));
            debug_assert_eq!(elements.len(), list.len());
            elements.iter().enumerate().find_map(wrong)
        }
        _ => None,
    })
}

/// Reads a document. The parser refuses to nest deeper than 128 levels, so a bomb of brackets costs a few bytes.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    read(body, |value, _| misshapen(value).map(|path| if path.is_empty() { "/".to_owned() } else { path }))
}

/// Reads a body; `wrong` finds the path of what is of the wrong shape and was read all the same.
fn read<T: DeserializeOwned>(
    body: &[u8],
    wrong: impl FnOnce(&Value, &T) -> Option<String>,
) -> Result<T, BodyError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(BodyError::Empty);
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize(&mut reader) {
        Ok(document) => {
            let value: Value =
                serde_json::from_slice(body).map_err(|error| BodyError::Syntax(error.to_string()))?;
            match wrong(&value, &document) {
                None => Ok(document),
                Some(path) => Err(BodyError::Type(vec![field_errors(
                    path,
                    "invalid type: sequence, expected an object",
                )])),
            }
        }
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

/// Members that are objects, or lists of them.
const OBJECTS: [(&str, bool); 7] = [
    ("upgradeStrategy", false),
    ("versionInfo", false),
    ("residency", false),
    ("portDefinitions", true),
    ("networks", true),
    ("healthChecks", true),
    ("fetch", true),
];

/// The path of an array in the place of an object, below `document` or `document` itself. The decoder takes such an
/// array for an object without names, element by element, which would make something of `[]` that nobody has asked for.
fn misshapen(document: &Value) -> Option<String> {
    if !document.is_object() {
        return Some(String::new());
    }
    OBJECTS.into_iter().find_map(|(name, many)| {
        let member = document.get(name)?;
        if !many {
            return member.is_array().then(|| format!("/{name}"));
        }
        let at = member.as_array()?.iter().position(Value::is_array)?;
        Some(format!("/{name}({at})"))
    })
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
        show(decode::<T>(body.as_bytes()), expected);
    }

    fn show<T>(result: Result<T, BodyError>, expected: &Expect) {
        let text = match result {
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
        check::<App>("{", &expect!["syntax: EOF while parsing an object at line 1 column 1"]);
        check::<App>(r#"{"id":"/a"} x"#, &expect!["syntax: trailing characters at line 1 column 13"]);
        check::<App>(
            r#"{"id":7}"#,
            &expect![[
                r#"[{"path":"/id","errors":["error.expected.jsstring","invalid type: integer `7`, expected a string"]}]"#
            ]],
        );
        check::<App>(r#"{"id":7,"#, &expect!["syntax: EOF while parsing a value at line 1 column 8"]);
        check::<App>(
            r#"[]"#,
            &expect![[
                r#"[{"path":"/","errors":["error.expected.jsobject","invalid type: sequence, expected an object"]}]"#
            ]],
        );
        show(
            decode_list::<App>(br#"[{}, []]"#),
            &expect![[
                r#"[{"path":"(1)","errors":["error.expected.jsobject","invalid type: sequence, expected an object"]}]"#
            ]],
        );
        show(
            decode_list::<App>(br#"[{}, {"fetch": [[]]}]"#),
            &expect![[
                r#"[{"path":"(1)/fetch(0)","errors":["error.expected.jsobject","invalid length 0, expected struct Fetch with 5 elements"]}]"#
            ]],
        );
        show(
            decode_list::<App>(br#"{"id":"/a"}"#),
            &expect![[
                r#"[{"path":"/","errors":["error.expected.jsarray","invalid type: map, expected a sequence"]}]"#
            ]],
        );
        check::<App>(
            r#"{"upgradeStrategy":[1]}"#,
            &expect![[
                r#"[{"path":"/upgradeStrategy","errors":["error.expected.jsobject","invalid length 1, expected struct UpgradeStrategy with 2 elements"]}]"#
            ]],
        );
        check::<App>(
            r#"{"healthChecks":[{},[]]}"#,
            &expect![[
                r#"[{"path":"/healthChecks(1)","errors":["error.expected.jsobject","invalid length 0, expected struct HealthCheck with 12 elements"]}]"#
            ]],
        );
        check::<App>(
            r#"{"instances":"3"}"#,
            &expect![[
                r#"[{"path":"/instances","errors":["error.expected.jsnumber","invalid type: string \"3\", expected i64"]}]"#
            ]],
        );
        check::<App>(r#"{"cpus":NaN}"#, &expect!["syntax: expected value at line 1 column 9"]);
        check::<App>(
            r#"{"portDefinitions":[{},{"name":[]}]}"#,
            &expect![[
                r#"[{"path":"/portDefinitions(1)/name","errors":["error.expected.jsstring","invalid type: sequence, expected a string"]}]"#
            ]],
        );
        check::<App>(
            r#"{"requirePorts":"yes"}"#,
            &expect![[
                r#"[{"path":"/requirePorts","errors":["error.expected.jsboolean","invalid type: string \"yes\", expected a boolean"]}]"#
            ]],
        );
        check::<App>(
            r#"{"env":{"A":1}}"#,
            &expect![[
                r#"[{"path":"/env/A","errors":["error.expected.jsstring","expected a string, or an object with the string `secret`"]}]"#
            ]],
        );
        check::<App>(
            r#"{"constraints":["hostname"]}"#,
            &expect![[
                r#"[{"path":"/constraints(0)","errors":["error.expected.jsarray","expected an array of strings: [field, operator] or [field, operator, value]"]}]"#
            ]],
        );
        check::<App>(
            r#"{"healthChecks":{}}"#,
            &expect![[
                r#"[{"path":"/healthChecks","errors":["error.expected.jsarray","invalid type: map, expected a sequence"]}]"#
            ]],
        );
        check::<App>(
            &format!(r#"{{"container":{}"#, "[".repeat(100_000)),
            &expect!["syntax: recursion limit exceeded at line 1 column 140"],
        );
        check::<KillTasks>(
            "{}",
            &expect![[r#"[{"path":"/ids","errors":["error.path.missing","is required"]}]"#]],
        );
        check::<KillTasks>(
            r#"{"ids":"x"}"#,
            &expect![[
                r#"[{"path":"/ids","errors":["error.expected.jsarray","invalid type: string \"x\", expected a sequence"]}]"#
            ]],
        );
    }
}
