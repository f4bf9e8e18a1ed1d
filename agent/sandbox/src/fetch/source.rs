//! What a URI means.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use super::error::Reason;

/// Where something comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Http(Url),
    File(PathBuf),
}

impl Source {
    pub(super) fn parse(uri: &str) -> Result<Self, Reason> {
        if uri.contains('\0') {
            return Err(Reason::Uri("it contains a NUL character".into()));
        }
        if uri.starts_with('/') {
            return Ok(Self::File(uri.into()));
        }
        let url = Url::parse(uri).map_err(|error| Reason::Uri(error.to_string()))?;
        match url.scheme() {
            "http" | "https" => Ok(Self::Http(url)),
            "file" => match url.host_str() {
                None | Some("" | "localhost") => {
                    let path = percent_decode_str(url.path())
                        .decode_utf8()
                        .map_err(|_| Reason::Uri("its path is not UTF-8".into()))?;
                    if path.contains('\0') {
                        return Err(Reason::Uri("it contains a NUL character".into()));
                    }
                    Ok(Self::File(path.into_owned().into()))
                }
                Some(host) => Err(Reason::Uri(format!("a file URI is for this machine, not for {host}"))),
            },
            scheme => Err(Reason::Uri(format!("scheme {scheme} is not supported"))),
        }
    }

    /// The last part of the path, decoded; what it decodes to is checked where it is used.
    pub(super) fn name(&self) -> Option<String> {
        let name = match self {
            Self::Http(url) => {
                let last = url.path_segments()?.next_back()?;
                percent_decode_str(last).decode_utf8().ok()?.into_owned()
            }
            Self::File(path) => path.file_name()?.to_str()?.to_owned(),
        };
        // An encoded slash is part of the name, and no file can have that name.
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }
}

/// A URI as it may be shown: without the password.
pub(super) fn shown(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(mut url) if url.password().is_some() => {
            let _ = url.set_password(Some("***"));
            url.into()
        }
        _ => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_and_what_they_are_called() {
        let name = |uri: &str| Source::parse(uri).unwrap().name();
        assert_eq!(name("http://host/a/app%20one.zip?x=/y#z"), Some("app one.zip".into()));
        assert_eq!(name("https://host"), None);
        assert_eq!(name("http://host/a/"), None);
        assert_eq!(name("http://host/a%2Fb"), None);
        assert_eq!(name("file:///srv/x.tar.gz"), Some("x.tar.gz".into()));
        assert_eq!(name("/srv/x"), Some("x".into()));
        assert_eq!(Source::parse("file://localhost/a%20b").unwrap(), Source::File("/a b".into()));
    }

    #[test]
    fn others_are_refused_with_the_reason() {
        let refusal = |uri: &str| Source::parse(uri).unwrap_err().to_string();
        for (uri, reason) in [
            ("ftp://host/x", "scheme ftp is not supported"),
            ("file://elsewhere/x", "a file URI is for this machine, not for elsewhere"),
            ("relative/path", "relative URL without a base"),
            ("--upload-pack=x", "relative URL without a base"),
            ("ext::sh -c true", "scheme ext is not supported"),
            ("file:///a%00b", "it contains a NUL character"),
            ("http://[::1", "invalid IPv6 address"),
        ] {
            assert!(refusal(uri).ends_with(reason), "{uri}: {}", refusal(uri));
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("http://me:secret@host/x"), "http://me:***@host/x");
        assert_eq!(shown("/srv/x"), "/srv/x");
    }
}
