//! Who may ask a server, and for what: a list of principals with their secrets, against HTTP's Basic scheme.
//!
//! The one place where secrets are compared. Servers ask it before they look at anything else of a request, bodies and
//! the question who leads included.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use subtle::ConstantTimeEq;

use crate::credential::{Credential, CredentialError, TEXT_BYTES};

/// Bytes of a file of secrets.
const FILE_BYTES: u64 = 1 << 20;
/// Principals of one server.
const PRINCIPALS: usize = 10_000;

/// What a principal may do beyond reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Change the cluster: quotas, weights, agents, maintenance, members, other people's frameworks.
    Operator,
    /// Subscribe as a scheduler, and keep records in the namespaces of its name.
    Framework,
    /// Register as an agent.
    Agent,
    /// Be one of the masters.
    Master,
}

/// A line of the list.
const LINE: &str = "PRINCIPAL SECRET ROLE,... [in=ROLE,...] [as=USER,...]";

const ROLES: [(&str, Role); 4] = [
    ("operator", Role::Operator),
    ("framework", Role::Framework),
    ("agent", Role::Agent),
    ("master", Role::Master),
];

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ROLES.iter().find(|(_, role)| role == self).map_or("", |(name, _)| name);
        out.write_str(name)
    }
}

/// Whom a request comes from. Among its extensions once it was let in.
#[derive(Debug, Clone)]
pub struct Principal {
    pub name: Arc<str>,
    roles: Arc<[Role]>,
}

impl Principal {
    #[must_use]
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// What frameworks of a principal are bound to, as the list has it; `None` is not bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Roles of the cluster that they may be in; `eng/*` stands for all within `eng`.
    pub roles: Option<Vec<String>>,
    /// Users of the agents' machines that their tasks may run as.
    pub users: Option<Vec<String>>,
}

#[derive(Debug)]
struct Known {
    credential: Credential,
    principal: Principal,
    bounds: Bounds,
}

/// The principals of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard(Arc<BTreeMap<String, Known>>);

/// Why a file of secrets is refused. No text of it shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} can be read by others than its owner: `chmod 600` it")]
    Exposed { path: PathBuf },
    #[error("{path} is longer than {FILE_BYTES} bytes or no text")]
    NoText { path: PathBuf },
    #[error("{path}, line {line}: {fault}")]
    Line { path: PathBuf, line: usize, fault: String },
    #[error("{path}: {fault}")]
    Credential { path: PathBuf, fault: CredentialError },
}

impl Guard {
    /// Reads a list of principals, one in a line: `PRINCIPAL SECRET ROLE,...`, the roles being `operator`, `framework`,
    /// `agent`, `master` and `reader`, which gives nothing beyond reading. After them may come what the frameworks of the
    /// principal are bound to: `in=ROLE,...`, roles of the cluster, and `as=USER,...`, users of machines. A line that begins
    /// with `#` is a remark.
    ///
    /// # Errors
    /// See [`GuardError`].
    pub fn read(path: &Path) -> Result<Self, GuardError> {
        let text = private(path)?;
        let at = |line, fault: String| GuardError::Line { path: path.to_owned(), line, fault };
        let mut all = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (principal, secret, roles, bounds) = match words[..] {
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                [principal, secret, roles, ref bounds @ ..] => (principal, secret, roles, bounds),
                _ => return Err(at(number, format!("must be {LINE}"))),
            };
            let bounds = Bounds::read(bounds).map_err(|fault| at(number, fault))?;
            let credential =
                Credential::new(principal, secret).map_err(|fault| at(number, fault.to_string()))?;
            let roles = roles_of(roles).map_err(|fault| at(number, fault))?;
            let name = credential.principal().to_owned();
            if all.insert(name, known(credential, &roles, bounds)).is_some() {
                return Err(at(number, "the principal has a line already".to_owned()));
            }
            if all.len() > PRINCIPALS {
                return Err(at(number, format!("there are more than {PRINCIPALS} principals")));
            }
        }
        Ok(Self(Arc::new(all)))
    }

    /// One principal, who may do everything.
    #[must_use]
    pub fn of_one(credential: Credential) -> Self {
        let name = credential.principal().to_owned();
        Self(Arc::new(BTreeMap::from([(
            name,
            known(credential, &ROLES.map(|(_, role)| role), Bounds::default()),
        )])))
    }

    /// Principals whose frameworks are bound to something, and to what.
    pub fn bounds(&self) -> impl Iterator<Item = (&str, &Bounds)> {
        let bound = self.0.iter().filter(|(_, known)| known.bounds != Bounds::default());
        bound.map(|(name, known)| (name.as_str(), &known.bounds))
    }

    /// The first principal, by name, that has this role: what a server calls itself towards others of its kind.
    #[must_use]
    pub fn first(&self, role: Role) -> Option<&Credential> {
        self.0.values().find(|known| known.principal.is(role)).map(|known| &known.credential)
    }

    /// Whom a request comes from; `None` where credentials are missing, of another scheme, said twice, or wrong. How long
    /// it takes says nothing about a secret.
    #[must_use]
    pub fn authenticate(&self, headers: &HeaderMap) -> Option<Principal> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let given = Credential::of_basic(value.to_str().ok()?)?;
        let known = self.0.get(given.principal());
        // Somebody unknown is compared as well.
        let secret = known.map_or("", |known| known.credential.secret());
        (same(given.secret(), secret) && known.is_some())
            .then(|| known.map(|known| known.principal.clone()))
            .flatten()
    }
}

impl Bounds {
    fn read(words: &[&str]) -> Result<Self, String> {
        let mut bounds = Self::default();
        for word in words {
            let (place, list) = match word.split_once('=') {
                Some(("in", list)) => (&mut bounds.roles, list),
                Some(("as", list)) => (&mut bounds.users, list),
                _ => return Err(format!("'{word}' is not understood: a line is {LINE}")),
            };
            let all: Vec<String> = list.split(',').map(str::to_owned).collect();
            if all.iter().any(String::is_empty) || place.replace(all).is_some() {
                return Err(format!("'{word}' must be there once and name something between its commas"));
            }
        }
        Ok(bounds)
    }
}

fn known(credential: Credential, roles: &[Role], bounds: Bounds) -> Known {
    let name = credential.principal().into();
    Known { credential, principal: Principal { name, roles: roles.into() }, bounds }
}

fn roles_of(text: &str) -> Result<Vec<Role>, String> {
    let mut roles = Vec::new();
    for word in text.split(',').filter(|word| *word != "reader") {
        let role = ROLES.iter().find(|(name, _)| *name == word).map(|(_, role)| *role);
        roles.push(role.ok_or_else(|| {
            format!("'{word}' is no role: there are operator, framework, agent, master and reader")
        })?);
    }
    Ok(roles)
}

/// Compares two secrets, of any length, in the time that the longest lawful one takes.
fn same(a: &str, b: &str) -> bool {
    let padded = |text: &str| {
        let mut bytes = [0; TEXT_BYTES];
        let length = text.len().min(TEXT_BYTES);
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        bytes
    };
    let equal = padded(a).ct_eq(&padded(b)) & (a.len() as u64).ct_eq(&(b.len() as u64));
    equal.into()
}

/// What a file says that nobody but its owner may read.
fn private(path: &Path) -> Result<String, GuardError> {
    let unreadable = |source| GuardError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(GuardError::Exposed { path: path.to_owned() });
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(count) if count as u64 <= FILE_BYTES => Ok(text),
        Err(source) if source.kind() != std::io::ErrorKind::InvalidData => Err(unreadable(source)),
        _ => Err(GuardError::NoText { path: path.to_owned() }),
    }
}

/// Reads what a client calls itself from a file with one line, `PRINCIPAL:SECRET`.
///
/// # Errors
/// See [`GuardError`].
pub fn credential(path: &Path) -> Result<Credential, GuardError> {
    let text = private(path)?;
    let line = text.trim_end_matches(['\r', '\n']);
    line.parse().map_err(|fault| GuardError::Credential { path: path.to_owned(), fault })
}

/// The value of a request's `Authorization` header, marked so that it is not logged.
#[must_use]
pub fn authorization(credential: &Credential) -> HeaderValue {
    // Base64 is lawful in a header.
    let mut value = HeaderValue::from_str(&credential.basic()).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// 401, with the realm that is asked for.
#[must_use]
pub fn unauthorized(realm: &'static str, media: &'static str, body: &'static str) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&format!("Basic realm=\"{realm}\"")) {
        headers.insert(WWW_AUTHENTICATE, value);
    }
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn asked(guard: &Guard, values: &[&str]) -> Option<Principal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        guard.authenticate(&headers)
    }

    #[test]
    fn who_knows_the_secret_has_the_roles_of_the_line() {
        let text = b"# people\n\nops  s3cret   operator,framework\nlooker x reader\nweb y framework in=web,eng/* as=nobody\n";
        let (_folder, path) = file(0o600, text);
        let guard = Guard::read(&path).unwrap();
        let basic = |text: &str| text.parse::<Credential>().unwrap().basic();
        let ops = asked(&guard, &[&basic("ops:s3cret")]).unwrap();
        assert!(ops.is(Role::Operator) && ops.is(Role::Framework) && !ops.is(Role::Agent));
        let looker = asked(&guard, &[&basic("looker:x")]).unwrap();
        assert!(ROLES.iter().all(|(_, role)| !looker.is(*role)));
        for wrong in ["ops:s3cre", "ops:s3crett", "ops:S3cret", "nobody:s3cret", "looker:s3cret"] {
            assert!(asked(&guard, &[&basic(wrong)]).is_none(), "{wrong}");
        }
        assert!(asked(&guard, &[]).is_none());
        assert!(asked(&guard, &["Bearer x"]).is_none());
        assert!(asked(&guard, &[&basic("ops:s3cret"), &basic("looker:x")]).is_none(), "two at once");
        assert_eq!(guard.first(Role::Framework).unwrap().principal(), "ops");
        let list = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect());
        let bound = Bounds { roles: list(&["web", "eng/*"]), users: list(&["nobody"]) };
        assert_eq!(guard.bounds().collect::<Vec<_>>(), [("web", &bound)]);
        assert!(!format!("{guard:?}").contains("s3cret"));
    }

    #[test]
    fn a_bad_file_is_refused_with_its_line_and_without_its_secrets() {
        for (text, said) in [
            (&b"ops s3cret"[..], "line 1: must be PRINCIPAL SECRET ROLE,..."),
            (b"\nops s3cret operator extra", "line 2: 'extra' is not understood"),
            (b"ops s3cret framework in=a,,b", "line 1: 'in=a,,b' must be there once"),
            (b"ops s3cret framework as=a as=b", "line 1: 'as=b' must be there once"),
            (b"ops s3cret chief", "line 1: 'chief' is no role"),
            (b"o:ps s3cret operator", "line 1: the principal must"),
            (b"ops s3cret operator\nops other reader", "line 2: the principal has a line already"),
            (b"ops \xff operator", "no text"),
        ] {
            let (_folder, path) = file(0o600, text);
            let error = Guard::read(&path).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("s3cret"), "{error}");
        }
        let (_folder, path) = file(0o640, b"ops s3cret operator");
        assert!(matches!(Guard::read(&path), Err(GuardError::Exposed { .. })));
        assert!(matches!(Guard::read(Path::new("/nowhere")), Err(GuardError::Unreadable { .. })));
    }

    #[test]
    fn a_clients_own_credential_is_one_line() {
        let (_folder, path) = file(0o600, b"marathon:s3cret\n");
        assert_eq!(credential(&path).unwrap().principal(), "marathon");
        let (_folder, path) = file(0o600, b"marathon s3cret\n");
        let error = credential(&path).unwrap_err().to_string();
        assert!(error.ends_with("must be PRINCIPAL:SECRET") && !error.contains("s3cret"), "{error}");
        let (_folder, path) = file(0o604, b"marathon:s3cret\n");
        assert!(matches!(credential(&path), Err(GuardError::Exposed { .. })));
        assert!(authorization(&"a:b".parse().unwrap()).is_sensitive());
    }
}
