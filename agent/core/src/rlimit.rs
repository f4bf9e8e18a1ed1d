//! Limits of a process as a container's description names them (`RLimitInfo` of the v1 API).

use std::collections::BTreeSet;

use wire::v1::RLimitInfo;
pub use wire::v1::r_limit_info::r_limit::Type as Kind;

use crate::Invalid;

/// A limit that the kernel holds each process of a task to (`setrlimit`), in the units of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    pub kind: Kind,
    /// The soft limit and the hard one; `None` is no limit at all.
    pub bounds: Option<(u64, u64)>,
}

impl Rlimit {
    /// Reads all of a description.
    ///
    /// # Errors
    /// Names the field and the rule: each kind at most once, both limits or neither, the soft one not above the hard one.
    pub(crate) fn read_all(info: &RLimitInfo) -> Result<Vec<Self>, Invalid> {
        let invalid = |text: String| Invalid(format!("'container.rlimit_info.rlimits' {text}"));
        let mut seen = BTreeSet::new();
        let read = |limit: &wire::v1::r_limit_info::RLimit| {
            let kind = limit.r#type();
            if kind == Kind::Unknown {
                return Err(invalid("has an entry of no known 'type'".to_owned()));
            }
            let name = kind.as_str_name();
            if !seen.insert(name) {
                return Err(invalid(format!("limit {name} twice")));
            }
            let bounds = match (limit.soft, limit.hard) {
                (None, None) => None,
                (Some(soft), Some(hard)) if soft <= hard => Some((soft, hard)),
                (Some(_), Some(_)) => {
                    return Err(invalid(format!("have a 'soft' limit above the 'hard' one for {name}")));
                }
                _ => {
                    return Err(invalid(format!("must have both 'soft' and 'hard', or neither, for {name}")));
                }
            };
            Ok(Self { kind, bounds })
        };
        info.rlimits.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(Kind, Option<u64>, Option<u64>)]) -> Result<Vec<Rlimit>, String> {
        let limit = |(kind, soft, hard): &(Kind, Option<u64>, Option<u64>)| wire::v1::r_limit_info::RLimit {
            r#type: Some((*kind).into()),
            soft: *soft,
            hard: *hard,
        };
        let info = RLimitInfo { rlimits: entries.iter().map(limit).collect() };
        Rlimit::read_all(&info).map_err(|Invalid(text)| text)
    }

    #[test]
    fn both_or_neither_each_once() {
        let files = Rlimit { kind: Kind::RlmtNofile, bounds: Some((10, 20)) };
        let core = Rlimit { kind: Kind::RlmtCore, bounds: None };
        let both = [(Kind::RlmtNofile, Some(10), Some(20)), (Kind::RlmtCore, None, None)];
        assert_eq!(read(&both), Ok(vec![files, core]));
        for (entries, rule) in [
            (
                &[(Kind::RlmtNofile, Some(10), None)][..],
                "must have both 'soft' and 'hard', or neither, for RLMT_NOFILE",
            ),
            (
                &[(Kind::RlmtNofile, Some(11), Some(10))],
                "have a 'soft' limit above the 'hard' one for RLMT_NOFILE",
            ),
            (&[(Kind::RlmtCore, None, None), (Kind::RlmtCore, None, None)], "limit RLMT_CORE twice"),
            (&[(Kind::Unknown, None, None)], "has an entry of no known 'type'"),
        ] {
            assert_eq!(read(entries), Err(format!("'container.rlimit_info.rlimits' {rule}")));
        }
    }
}
