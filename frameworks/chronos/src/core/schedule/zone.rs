//! Time zones by name, from the database that is compiled in: two instances on machines with different system databases
//! would otherwise disagree about when a job is due.

use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use super::BadSchedule;

/// A zone, and the name it was asked for by.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// Three-letter ids as Java reads them, since job files use them. Some are not what they seem: `BST` is Dhaka.
const JAVA: [(&str, &str); 28] = [
    ("ACT", "Australia/Darwin"),
    ("AET", "Australia/Sydney"),
    ("AGT", "America/Argentina/Buenos_Aires"),
    ("ART", "Africa/Cairo"),
    ("AST", "America/Anchorage"),
    ("BET", "America/Sao_Paulo"),
    ("BST", "Asia/Dhaka"),
    ("CAT", "Africa/Harare"),
    ("CNT", "America/St_Johns"),
    ("CST", "America/Chicago"),
    ("CTT", "Asia/Shanghai"),
    ("EAT", "Africa/Addis_Ababa"),
    ("ECT", "Europe/Paris"),
    ("EST", "-05:00"),
    ("HST", "-10:00"),
    ("IET", "America/Indiana/Indianapolis"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("MIT", "Pacific/Apia"),
    ("MST", "-07:00"),
    ("NET", "Asia/Yerevan"),
    ("NST", "Pacific/Auckland"),
    ("PLT", "Asia/Karachi"),
    ("PNT", "America/Phoenix"),
    ("PRT", "America/Puerto_Rico"),
    ("PST", "America/Los_Angeles"),
    ("SST", "Pacific/Guadalcanal"),
    ("VST", "Asia/Ho_Chi_Minh"),
];

impl Zone {
    pub fn utc() -> Self {
        Self { name: String::new(), rules: TimeZone::UTC }
    }

    /// The zone of a start that says its offset itself.
    pub(super) fn fixed(offset: Offset) -> Self {
        Self { name: String::new(), rules: TimeZone::fixed(offset) }
    }

    /// # Errors
    /// Nobody knows the name. (Java takes such a zone for GMT, which runs the job at a wrong time without a word.)
    pub fn parse(name: &str) -> Result<Self, BadSchedule> {
        let java = JAVA.iter().find(|(id, _)| *id == name).map_or(name, |(_, zone)| zone);
        let bare = ["GMT", "UTC", "UT"]
            .iter()
            .find_map(|prefix| java.strip_prefix(prefix).filter(|rest| rest.starts_with(['+', '-'])));
        if let Some(offset) = offset(bare.unwrap_or(java)) {
            return Ok(Self { name: name.to_owned(), rules: TimeZone::fixed(offset) });
        }
        match TimeZoneDatabase::bundled().get(java) {
            Ok(rules) => Ok(Self { name: name.to_owned(), rules }),
            Err(_) => Err(BadSchedule {
                field: "scheduleTimeZone",
                rule: format!("'{name}' must be a name of the time zone database, like Europe/Paris"),
            }),
        }
    }

    pub(super) fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// The name it was asked for by; empty for the offset of the start itself.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `Z`, `+02:00`, `+0200` or `+02`.
pub(super) fn offset(text: &str) -> Option<Offset> {
    if text == "Z" || text == "z" {
        return Some(Offset::UTC);
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 && digits.is_ascii() => digits.split_at(2),
        None => (digits, "0"),
    };
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok());
    let (hours, minutes) = (number(hours)??, number(minutes)??);
    if hours > 18 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}
