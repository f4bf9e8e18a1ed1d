//! A few lines of binary encoding for our own small records: big-endian numbers and length-prefixed bytes.

use crate::error::Corrupt;

#[derive(Default)]
pub(crate) struct Packer {
    bytes: Vec<u8>,
}

impl Packer {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn u128(&mut self, value: u128) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        let length = u32::try_from(value.len()).expect("records of this crate are far below 4 GiB");
        self.u32(length);
        self.bytes.extend_from_slice(value);
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

pub(crate) struct Unpacker<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Unpacker<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Corrupt> {
        let Some((head, tail)) = self.rest.split_at_checked(count) else {
            return Err(Corrupt::new(self.what, format!("ends {} bytes too early", count - self.rest.len())));
        };
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Corrupt> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Corrupt> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Corrupt> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, Corrupt> {
        Ok(u128::from_be_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(crate) fn text(&mut self, limit: usize) -> Result<String, Corrupt> {
        let bytes = self.bytes()?;
        if bytes.len() > limit {
            return Err(self.bad(format!("a text of {} bytes, more than {limit}", bytes.len())));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| self.bad("a text that is not UTF-8"))
    }

    /// A count of things that follow, refused before anything is allocated for it.
    pub(crate) fn count(&mut self, limit: usize) -> Result<usize, Corrupt> {
        let count = self.u32()? as usize;
        if count > limit {
            return Err(self.bad(format!("{count} items, more than {limit}")));
        }
        Ok(count)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn end(&self) -> Result<(), Corrupt> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.bad(format!("{} bytes too many", self.rest.len())))
        }
    }

    pub(crate) fn bad(&self, why: impl Into<String>) -> Corrupt {
        Corrupt::new(self.what, why)
    }
}
