//! Changes that are made only if the job is still what its editor saw: `ETag`, `If-Match` and `If-None-Match` (RFC 9110).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use crate::core::job::Job;

/// What has to hold of a job for a change to be made.
#[derive(Debug, Default)]
pub(super) struct Precondition {
    /// It is there, as one of these tags says, or at all.
    is: Option<Vec<String>>,
    /// It is not there, or not as these say.
    is_not: Option<Vec<String>>,
}

impl Precondition {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let tags = |name: HeaderName| {
            let values: Vec<String> = headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .map(|tag| tag.trim().trim_start_matches("W/").to_owned())
                .collect();
            (!values.is_empty()).then_some(values)
        };
        Self { is: tags(IF_MATCH), is_not: tags(IF_NONE_MATCH) }
    }

    /// # Errors
    /// It does not hold; a sentence.
    pub(super) fn check(&self, name: &str, job: Option<&Job>) -> Result<(), String> {
        let own = job.map(tag);
        let named = |tags: &Vec<String>| {
            own.as_ref().is_some_and(|own| tags.iter().any(|tag| tag == "*" || tag == own))
        };
        if self.is.as_ref().is_some_and(|tags| !named(tags)) {
            let is = own.map_or_else(|| "does not exist".to_owned(), |own| format!("is now {own}"));
            return Err(format!("If-Match does not hold: job '{name}' {is}"));
        }
        if self.is_not.as_ref().is_some_and(named) {
            return Err(format!("If-None-Match does not hold: job '{name}' exists"));
        }
        Ok(())
    }
}

/// Of what somebody posted: another after each change of that, the same while it runs and on every instance.
pub(super) fn tag(job: &Job) -> String {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(&job.record()).unwrap_or_default().hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use model::time::Time;
    use serde_json::json;

    use super::*;

    fn job(command: &str) -> Job {
        let document = json!({"name": "a", "command": command, "schedule": "R/2026-01-01T00:00:00Z/P1D"});
        Job::admit(Time::from_secs(1), serde_json::from_value(document).expect("a definition"))
            .expect("a job")
    }

    fn holds(headers: &[(HeaderName, &str)], job: Option<&Job>) -> bool {
        let header = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).expect("a header"))
        };
        Precondition::of(&headers.iter().map(header).collect()).check("a", job).is_ok()
    }

    #[test]
    fn a_tag_names_what_was_posted_and_not_what_became_of_it() {
        let (mut one, two) = (job("one"), job("two"));
        let before = tag(&one);
        one.status.success_count = 7;
        assert_eq!(tag(&one), before);
        assert_ne!(tag(&two), before);
    }

    #[test]
    fn a_change_is_made_if_the_job_is_what_it_was_taken_for() {
        let (one, two) = (job("one"), job("two"));
        let (first, second) = (tag(&one), tag(&two));
        assert!(holds(&[], None) && holds(&[], Some(&one)));
        assert!(holds(&[(IF_MATCH, first.as_str())], Some(&one)));
        assert!(holds(&[(IF_MATCH, &format!("{second}, W/{first}"))], Some(&one)));
        assert!(!holds(&[(IF_MATCH, first.as_str())], Some(&two)));
        assert!(!holds(&[(IF_MATCH, first.as_str())], None));
        assert!(holds(&[(IF_MATCH, "*")], Some(&one)) && !holds(&[(IF_MATCH, "*")], None));
        assert!(holds(&[(IF_NONE_MATCH, "*")], None) && !holds(&[(IF_NONE_MATCH, "*")], Some(&one)));
        assert!(holds(&[(IF_NONE_MATCH, second.as_str())], Some(&one)));
    }
}
