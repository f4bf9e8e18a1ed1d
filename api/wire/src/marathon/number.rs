//! Numbers that may be whole or not.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A JSON number which is printed without a fraction when it has none (`128`, not `128.0`), as the API always did.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Number(pub f64);

/// Beyond this an `f64` no longer holds every integer, so it is printed as a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_no_fraction() {
        let text = serde_json::to_string(&[Number(128.0), Number(0.5), Number(-3.0), Number(1e300)]).unwrap();
        assert_eq!(text, "[128,0.5,-3,1e+300]");
    }
}
