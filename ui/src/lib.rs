//! The web pages, as files that are part of the program.
//!
//! Each role that has something to show serves its page and the shared files itself, and pages ask only the server they
//! came from: no server has to allow other sites to read it. Pages read the public API and nothing else, so whatever
//! they show can be had without them.

/// Where the files are served: `/ui/NAME`.
pub const PREFIX: &str = "/ui/";

/// A file as a browser gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub body: &'static str,
}

/// The cluster, served by a master at `/`.
pub const CLUSTER: Asset = html(include_str!("../assets/cluster.html"));

/// The apps, served by a supervisor at `/ui/`.
pub const APPS: Asset = html(include_str!("../assets/apps.html"));

/// Headers to go with every file. Scripts and styles come from the same server only, so that a task's name that looks
/// like markup stays a name; and nobody shows a page inside another, to have it clicked unseen.
pub const HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    // A new version of the program brings new pages.
    ("cache-control", "no-cache"),
];

/// The shared file of this name below [`PREFIX`].
pub fn asset(name: &str) -> Option<Asset> {
    let script = |body| Asset { media_type: "text/javascript; charset=utf-8", body };
    Some(match name {
        "style.css" => {
            Asset { media_type: "text/css; charset=utf-8", body: include_str!("../assets/style.css") }
        }
        "stoa.js" => script(include_str!("../assets/stoa.js")),
        "cluster.js" => script(include_str!("../assets/cluster.js")),
        "apps.js" => script(include_str!("../assets/apps.js")),
        _ => return None,
    })
}

const fn html(body: &'static str) -> Asset {
    Asset { media_type: "text/html; charset=utf-8", body }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything in quotes that begins with the prefix.
    fn references(text: &str) -> impl Iterator<Item = &str> {
        text.split('"').filter_map(|part| part.strip_prefix(PREFIX))
    }

    #[test]
    fn whatever_a_page_refers_to_is_there() {
        for page in [CLUSTER, APPS] {
            let names: Vec<&str> = references(page.body).collect();
            assert!(names.len() >= 2, "a page has a sheet and a script: {names:?}");
            for name in names {
                let file = asset(name).unwrap_or_else(|| panic!("{name} is missing"));
                for name in references(file.body) {
                    assert!(asset(name).is_some(), "{name} is missing");
                }
            }
        }
    }

    #[test]
    fn scripts_never_turn_text_into_markup() {
        for name in ["stoa.js", "cluster.js", "apps.js"] {
            let script = asset(name).expect("listed").body;
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!script.contains(way), "{name} uses {way}");
            }
        }
    }

    #[test]
    fn scripts_look_only_for_places_their_page_has() {
        for (page, script) in [(CLUSTER, "cluster.js"), (APPS, "apps.js")] {
            let script = asset(script).expect("listed").body;
            let places = script.split("put(\"").chain(script.split("table(\"")).skip(1);
            let made = |place: &str| script.contains(&format!("id: \"{place}\""));
            for place in places.filter_map(|rest| rest.split('"').next()).filter(|place| place.len() < 30) {
                if place.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                    let there = page.body.contains(&format!("id=\"{place}\"")) || made(place);
                    assert!(there, "{place} is not in the page");
                }
            }
        }
    }
}
