//! Which master to ask: the one that answered last, the one it named, or the next on the list.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;

/// The addresses of the masters and a guess at which of them leads, shared by all clients of a process.
#[derive(Clone, Debug)]
pub struct Masters {
    addresses: Arc<[String]>,
    guess: Arc<Mutex<String>>,
    credentials: Option<Credentials>,
}

/// A principal and its secret, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    principal: Arc<str>,
    secret: Arc<str>,
}

impl Credentials {
    /// Whatever the masters have on their list.
    pub fn new(principal: &str, secret: &str) -> Self {
        Self { principal: principal.into(), secret: secret.into() }
    }

    /// Has a request say who it comes from, by HTTP's Basic scheme.
    pub(crate) fn sign(this: Option<&Self>, request: RequestBuilder) -> RequestBuilder {
        match this {
            Some(own) => request.basic_auth(&own.principal, Some(&own.secret)),
            None => request,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credentials({})", self.principal)
    }
}

impl Masters {
    /// From `HOST:PORT` addresses. An empty list stands for a master on this machine.
    pub fn new(addresses: &[String]) -> Self {
        let list: Vec<String> = match addresses {
            [] => vec!["127.0.0.1:5050".to_owned()],
            some => some.to_vec(),
        };
        let guess = Arc::new(Mutex::new(list[0].clone()));
        Self { addresses: list.into(), guess, credentials: None }
    }

    /// Whether all of them have the form of an address. Whether something is there shows in time.
    ///
    /// # Errors
    /// A sentence that names the one that has not.
    pub fn check(addresses: &[String]) -> Result<(), String> {
        let fine = |address: &&String| {
            let (host, port) = address.rsplit_once(':').unwrap_or_default();
            let odd = |letter: char| letter.is_whitespace() || matches!(letter, '/' | '@');
            !host.is_empty() && !host.contains(odd) && port.parse::<u16>().is_ok_and(|port| port != 0)
        };
        match addresses.iter().find(|address| !fine(address)) {
            Some(wrong) => Err(format!("must be host:port, is '{wrong}'")),
            None => Ok(()),
        }
    }

    /// Who all clients of these masters say they are.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Option<Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// `HOST:PORT` of the master to ask now.
    pub fn guess(&self) -> String {
        // A poisoned lock guards a string that is replaced whole: it is as good as ever.
        self.guess.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All addresses, for messages and configuration pages.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// `asked` named another leader by a redirect.
    pub fn redirected(&self, headers: &HeaderMap) -> bool {
        let location = headers.get("location").and_then(|value| value.to_str().ok());
        match location.and_then(authority) {
            Some(leader) => {
                self.set(leader.to_owned());
                true
            }
            None => false,
        }
    }

    /// `asked` does not answer or does not lead: the next on the list, unless another caller has moved on already.
    pub fn failed(&self, asked: &str) {
        let mut guess = self.guess.lock().unwrap_or_else(PoisonError::into_inner);
        if *guess != asked {
            return;
        }
        let at = self.addresses.iter().position(|address| address == asked);
        let next = at.map_or(0, |at| (at + 1) % self.addresses.len());
        guess.clone_from(&self.addresses[next]);
    }

    fn set(&self, address: String) {
        *self.guess.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }
}

/// `HOST:PORT` of a `Location`, which the masters send without a scheme: `//HOST:PORT/path`.
fn authority(location: &str) -> Option<&str> {
    let rest = location.split_once("//")?.1;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = &rest[..end];
    (!authority.is_empty()).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Masters {
        Masters::new(&["a:1".to_owned(), "b:2".to_owned(), "c:3".to_owned()])
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let check = |address: &str| Masters::check(&["a:1".to_owned(), address.to_owned()]);
        for fine in ["localhost:5050", "10.0.0.1:5050", "[::1]:5050"] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for wrong in
            ["", "nonsense", ":5050", "a:", "a:0", "a:65536", "http://a:5050", "a :5050", "ops:x@a:1"]
        {
            assert_eq!(check(wrong), Err(format!("must be host:port, is '{wrong}'")));
        }
    }

    #[test]
    fn a_failure_moves_to_the_next_once() {
        let masters = three();
        masters.failed("a:1");
        masters.failed("a:1");
        assert_eq!(masters.guess(), "b:2", "the second complaint about `a` came late");
        masters.failed("b:2");
        masters.failed("c:3");
        assert_eq!(masters.guess(), "a:1");
    }

    #[test]
    fn a_redirect_names_the_leader_with_or_without_a_scheme() {
        for location in ["//c:3/api/v1/scheduler", "http://c:3/x?y=//z", "//c:3"] {
            let masters = three();
            let mut headers = HeaderMap::new();
            headers.insert("location", location.parse().unwrap());
            assert!(masters.redirected(&headers));
            assert_eq!(masters.guess(), "c:3");
        }
    }

    #[test]
    fn an_unlisted_leader_that_fails_leads_back_to_the_list() {
        let masters = three();
        masters.set("d:4".to_owned());
        masters.failed("d:4");
        assert_eq!(masters.guess(), "a:1");
    }
}
