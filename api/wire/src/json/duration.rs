//! `google.protobuf.Duration`, which is read in one form more than it is written.

use super::{Json, Reader, Stop, Writer};
use crate::Duration;

const NANOSECONDS: i64 = 1_000_000_000;

impl Json for Duration {
    /// One of the three: an empty object, or one of members that are none of these, says no length at all.
    fn required(&self) -> &'static [&'static str] {
        &["seconds"]
    }

    fn write_members(&self, writer: &mut Writer<'_>) {
        writer.key("seconds");
        writer.integer(self.seconds);
        if self.nanos != 0 {
            writer.key("nanos");
            writer.integer(self.nanos);
        }
    }

    /// `nanoseconds` is how every other length of time of the API is given, and how this one is printed back.
    /// Ignored as unknown, it would turn the grace period of a drain into none.
    fn read_member(&mut self, name: &str, reader: &mut Reader<'_>) -> Result<u64, Stop> {
        match name {
            "seconds" => self.seconds = reader.integer()?,
            "nanos" => self.nanos = reader.integer()?,
            "nanoseconds" => {
                let nanoseconds: i64 = reader.integer()?;
                self.seconds = nanoseconds / NANOSECONDS;
                // Less than a second, so that it fits.
                self.nanos = (nanoseconds % NANOSECONDS) as i32;
            }
            _ => {
                reader.skip()?;
                return Ok(0);
            }
        }
        Ok(1)
    }
}
