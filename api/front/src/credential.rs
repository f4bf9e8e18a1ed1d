//! Who a client says it is, and the secret that proves it: HTTP's Basic scheme (spec mesos-v1, section 1.13).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a principal's name, and of a secret, at most.
pub const TEXT_BYTES: usize = 256;

/// A principal and its secret. Neither `Debug` nor any other text of it shows the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    principal: String,
    secret: String,
}

/// Why a text is no credential; the text itself is not repeated, since it may hold the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("must be PRINCIPAL:SECRET")]
    Form,
    #[error("the principal must have 1 to {TEXT_BYTES} bytes, no colon, no space and no control character")]
    Principal,
    #[error("the secret must have 1 to {TEXT_BYTES} bytes and no control character")]
    Secret,
}

impl Credential {
    /// # Errors
    /// See [`CredentialError`].
    pub fn new(principal: &str, secret: &str) -> Result<Self, CredentialError> {
        let fits = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES;
        let odd = |c: char| c == ':' || c.is_whitespace() || c.is_control();
        if !fits(principal) || principal.contains(odd) {
            return Err(CredentialError::Principal);
        }
        if !fits(secret) || secret.contains(char::is_control) {
            return Err(CredentialError::Secret);
        }
        Ok(Self { principal: principal.to_owned(), secret: secret.to_owned() })
    }

    #[must_use]
    pub fn principal(&self) -> &str {
        &self.principal
    }

    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The value of an `Authorization` header.
    #[must_use]
    pub fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.principal, self.secret)))
    }

    /// What an `Authorization` header says. `None` when it is of another scheme or makes no sense.
    #[must_use]
    pub fn of_basic(value: &str) -> Option<Self> {
        let (scheme, coded) = value.split_once(' ')?;
        let bytes = STANDARD.decode(coded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        String::from_utf8(bytes).ok()?.parse().ok()
    }
}

impl FromStr for Credential {
    type Err = CredentialError;

    /// `PRINCIPAL:SECRET`; the secret may have colons.
    fn from_str(text: &str) -> Result<Self, CredentialError> {
        let (principal, secret) = text.split_once(':').ok_or(CredentialError::Form)?;
        Self::new(principal, secret)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credential({})", self.principal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_says_is_what_was_meant() {
        for text in ["ops:secret", "ops:with:colons and spaces", "fw/a:\u{fc}"] {
            let credential: Credential = text.parse().unwrap();
            assert_eq!(Credential::of_basic(&credential.basic()), Some(credential.clone()));
            assert!(!format!("{credential:?}").contains(credential.secret()));
        }
        assert_eq!("ops:secret".parse::<Credential>().unwrap().basic(), "Basic b3BzOnNlY3JldA==");
        assert!(Credential::of_basic("bAsIc  b3BzOnNlY3JldA== ").is_some());
    }

    #[test]
    fn nonsense_is_no_credential() {
        for (text, error) in [
            ("ops", CredentialError::Form),
            (":secret", CredentialError::Principal),
            ("o ps:secret", CredentialError::Principal),
            ("ops:", CredentialError::Secret),
            ("ops:a\nb", CredentialError::Secret),
        ] {
            assert_eq!(text.parse::<Credential>(), Err(error), "{text}");
        }
        assert_eq!(Credential::new("ops", &"x".repeat(257)), Err(CredentialError::Secret));
        for header in ["", "Basic", "Basic !", "Bearer b3BzOnNlY3JldA==", "Basic b3Bz", "Basic /w=="] {
            assert_eq!(Credential::of_basic(header), None, "{header}");
        }
    }
}
