//! Where a machine stands, as the flag says it: a region of zones, each of which fails as one.

use wire::v1;

/// Why a text does not describe a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    #[error(
        "must be JSON like {{\"fault_domain\":{{\"region\":{{\"name\":\"eu\"}},\"zone\":{{\"name\":\"eu-1\"}}}}}}: {0}"
    )]
    Json(String),
    #[error("'fault_domain' must be present")]
    Absent,
    #[error("'fault_domain.{0}.name' must not be empty")]
    Unnamed(&'static str),
}

/// Reads a `DomainInfo` in JSON (spec mesos-v1, 3.3). Both its region and its zone have a name.
///
/// # Errors
/// The text is no such JSON, or a name is missing.
pub fn parse(text: &str) -> Result<v1::DomainInfo, DomainError> {
    let domain: v1::DomainInfo =
        wire::json::from_slice(text.as_bytes()).map_err(|error| DomainError::Json(error.to_string()))?;
    let fault = domain.fault_domain.as_ref().ok_or(DomainError::Absent)?;
    for (field, name) in [("region", &fault.region.name), ("zone", &fault.zone.name)] {
        if name.trim().is_empty() {
            return Err(DomainError::Unnamed(field));
        }
    }
    Ok(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_a_region_and_a_zone() {
        let domain = parse(r#"{"fault_domain":{"region":{"name":"eu"},"zone":{"name":"eu-1"}}}"#).unwrap();
        let fault = domain.fault_domain.unwrap();
        assert_eq!((fault.region.name.as_str(), fault.zone.name.as_str()), ("eu", "eu-1"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("eu", "must be JSON like"),
            ("{}", "'fault_domain' must be present"),
            (r#"{"fault_domain":{"region":{"name":"eu"}}}"#, "zone"),
            (r#"{"fault_domain":{"region":{"name":" "},"zone":{"name":"z"}}}"#, "'fault_domain.region.name'"),
            (r#"{"fault_domain":{"region":{"name":"eu"},"zone":{"name":""}}}"#, "'fault_domain.zone.name'"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
