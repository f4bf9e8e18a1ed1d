//! Names: apps are paths, an instance belongs to an app, a task is one launch of an instance.

use std::fmt;
use std::sync::Arc;

use model::id::TaskId;

use crate::limits;

/// Absolute path of an app or a group: `/shop/cart`; the root group is `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(Arc<str>);

/// Why a text is not the id of an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("must name an app, not the root group")]
    Root,
    #[error("must not be longer than {most} characters, this one has {has}")]
    TooLong { has: usize, most: usize },
    #[error(
        "'{0}' is not a segment of an id: use lower case letters, digits and hyphens, with a letter or digit at \
         both ends, optionally joined by dots"
    )]
    Segment(String),
    #[error("must not end in '{0}', which the API uses itself")]
    Reserved(String),
}

/// Last segments that would hide the app behind one of the API's own paths.
const RESERVED: [&str; 3] = ["restart", "tasks", "versions"];

impl AppId {
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Reads the id of an app. Relative ids are resolved against `base`, `.` and `..` are resolved, empty segments
    /// dropped.
    pub fn parse(text: &str, base: &Self) -> Result<Self, IdError> {
        let id = Self::parse_group(text, base)?;
        match id.segments().next_back() {
            None => return Err(IdError::Root),
            Some(last) if RESERVED.contains(&last) => return Err(IdError::Reserved(last.to_owned())),
            Some(_) => {}
        }
        Ok(id)
    }

    /// As [`AppId::parse`], for a group: the root is one too.
    pub fn parse_group(text: &str, base: &Self) -> Result<Self, IdError> {
        if text.len() > limits::APP_ID_BYTES {
            return Err(IdError::TooLong { has: text.len(), most: limits::APP_ID_BYTES });
        }
        let mut path: Vec<&str> = if text.starts_with('/') { Vec::new() } else { base.segments().collect() };
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    path.pop();
                }
                _ if segment.split('.').all(is_label) => path.push(segment),
                _ => return Err(IdError::Segment(segment.escape_debug().to_string())),
            }
        }
        let id = Self(format!("/{}", path.join("/")).into());
        if id.0.len() > limits::APP_ID_BYTES {
            return Err(IdError::TooLong { has: id.0.len(), most: limits::APP_ID_BYTES });
        }
        Ok(id)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The group this app or group is in; the root's is itself.
    pub fn parent(&self) -> Self {
        match self.0.rfind('/') {
            None | Some(0) => Self::root(),
            Some(end) => Self(self.0[..end].into()),
        }
    }

    /// Whether `other` lies below this path.
    pub fn contains(&self, other: &Self) -> bool {
        self != other
            && (self.is_root() || other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Without the leading slash, the others as `_`: part of instance and task ids.
    pub fn safe(&self) -> String {
        self.0.trim_start_matches('/').replace('/', "_")
    }

    /// Segments from the innermost outwards, joined by dots: the name of tasks.
    pub fn hostname(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }

    /// The inverse of [`AppId::safe`]: ids contain no `_`, so nothing is lost.
    fn from_safe(safe: &str) -> Option<Self> {
        let id = Self::parse(&format!("/{}", safe.replace('_', "/")), &Self::root()).ok()?;
        (id.safe() == safe).then_some(id)
    }
}

/// `[a-z0-9]`, with hyphens inside.
pub(crate) fn is_label(label: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            alphanumeric(first)
                && alphanumeric(last)
                && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        }
        _ => false,
    }
}

/// One of the copies of an app; it keeps its id when its task is launched again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    const MARK: &'static str = ".instance-";

    pub fn new(app: &AppId, uuid: &str) -> Self {
        Self(format!("{}{}{uuid}", app.safe(), Self::MARK).into())
    }

    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(text.into());
        id.app().map(|_| id)
    }

    /// Sorts before the id of any instance.
    pub fn lowest() -> Self {
        Self("".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The app this instance belongs to; `None` never happens for ids made by [`InstanceId::new`].
    pub fn app(&self) -> Option<AppId> {
        let (safe, uuid) = self.0.split_once(Self::MARK)?;
        let plain = !uuid.is_empty() && uuid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if plain { AppId::from_safe(safe) } else { None }
    }

    /// The id of this instance's `launch`th task, counted from 1.
    pub fn task(&self, launch: u32) -> TaskId {
        TaskId::from(format!("{}._app.{launch}", self.0))
    }
}

/// The instance and the number of the launch a task id speaks of; `None` for an id this supervisor did not make.
pub fn of_task(task: &str) -> Option<(InstanceId, u32)> {
    let (instance, launch) = task.rsplit_once("._app.")?;
    Some((InstanceId::parse(instance)?, launch.parse().ok()?))
}

/// A deployment's random id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(Arc<str>);

impl DeploymentId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for DeploymentId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

macro_rules! shown_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

shown_as_text!(AppId, InstanceId, DeploymentId);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        let base = AppId::parse_group("/base", &AppId::root()).unwrap();
        AppId::parse(text, &base).map(|id| id.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn ids_are_resolved() {
        for (text, expected) in [
            ("/shop/cart", "/shop/cart"),
            ("cart", "/base/cart"),
            ("../cart", "/cart"),
            ("//shop//cart/", "/shop/cart"),
            ("/a/./b/../c", "/a/c"),
            ("/../../a", "/a"),
            ("/a.b-c.d/0", "/a.b-c.d/0"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_id_is_named() {
        for (text, error) in [
            ("/", "root group"),
            ("..", "root group"),
            ("/shop/Cart", "'Cart' is not a segment"),
            ("/a_b", "'a_b' is not a segment"),
            ("/-a", "'-a' is not a segment"),
            ("/a..b", "'a..b' is not a segment"),
            ("/a\n", "'a\\n' is not a segment"),
            ("/a/tasks", "must not end in 'tasks'"),
            ("/a/restart", "must not end in 'restart'"),
        ] {
            let got = parse(text).unwrap_err();
            assert!(got.contains(error), "{text}: {got}");
        }
        assert!(parse(&"a/".repeat(200)).unwrap_err().contains("longer than"));
        assert!(parse(&format!("/{}", "a".repeat(1000))).unwrap_err().contains("longer than"));
    }

    #[test]
    fn task_ids_lead_back() {
        let app = AppId::parse("/shop/cart", &AppId::root()).unwrap();
        let instance = InstanceId::new(&app, "7a2e4c10-0858-11ef-9d1b-0242ac110002");
        let task = instance.task(3);
        assert_eq!(task.as_str(), "shop_cart.instance-7a2e4c10-0858-11ef-9d1b-0242ac110002._app.3");
        assert_eq!(of_task(task.as_str()), Some((instance.clone(), 3)));
        assert_eq!(instance.app(), Some(app));
        for stranger in
            ["x", "a.instance-1", "a.instance-._app.1", "a.instance-1._app.x", "A.instance-1._app.1"]
        {
            assert_eq!(of_task(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn the_longest_task_id_is_still_a_file_name() {
        let app = AppId::parse(&"a".repeat(limits::APP_ID_BYTES - 1), &AppId::root()).unwrap();
        let task = InstanceId::new(&app, "7a2e4c10-0858-11ef-9d1b-0242ac110002").task(u32::MAX);
        assert!(model::id::check(task.as_str()).is_ok());
    }

    #[test]
    fn groups_contain_what_is_below() {
        let id = |text| AppId::parse_group(text, &AppId::root()).unwrap();
        assert!(id("/a").contains(&id("/a/b/c")));
        assert!(!id("/a").contains(&id("/ab")));
        assert!(!id("/a").contains(&id("/a")));
        assert!(AppId::root().contains(&id("/a")));
        assert_eq!(id("/a/b").parent(), id("/a"));
        assert_eq!(id("/a").parent(), AppId::root());
        assert_eq!(id("/shop/cart").hostname(), "cart.shop");
    }
}
