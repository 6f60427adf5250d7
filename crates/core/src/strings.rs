//! Arrays of byte strings in the protocol's binary form.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

/// The elements of a `BYTES` tensor, held in the binary form of the Open Inference Protocol: each
/// element a little-endian `u32` length and then its bytes. Slices share both buffers.
///
/// ```
/// use tidegate_core::StringArray;
///
/// let array: StringArray = ["a", "bc"].into_iter().collect();
/// assert_eq!(array.wire().as_ref(), b"\x01\0\0\0a\x02\0\0\0bc");
/// assert_eq!(array.slice(1, 1).iter().next(), Some(b"bc".as_slice()));
/// ```
#[derive(Clone, Debug)]
pub struct StringArray {
    wire: Bytes,
    /// Where each element's content starts in `wire`; its length prefix is in the four bytes
    /// before.
    starts: Arc<[usize]>,
    first: usize,
    len: usize,
}

/// Bytes of the length in front of each element (Triton's extension "Binary tensor data").
const PREFIX: usize = size_of::<u32>();

impl StringArray {
    /// Splits the binary form into its elements without copying them.
    ///
    /// # Errors
    /// [`StringsError`] if a length runs over the end.
    pub fn from_wire(wire: Bytes) -> Result<Self, StringsError> {
        let mut starts = Vec::new();
        let mut at = 0;
        while at < wire.len() {
            let element = starts.len();
            let prefix = wire
                .get(at..at + PREFIX)
                .ok_or(StringsError { element, at })?;
            let len =
                u32::from_le_bytes(prefix.try_into().expect("the slice has four bytes")) as usize;
            // Compared by subtraction: a sum with a length off the wire could overflow on 32 bits.
            if len > wire.len() - at - PREFIX {
                return Err(StringsError { element, at });
            }
            starts.push(at + PREFIX);
            at += PREFIX + len;
        }
        let len = starts.len();
        Ok(Self {
            wire,
            starts: starts.into(),
            first: 0,
            len,
        })
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.starts[self.first..self.first + self.len]
            .iter()
            .map(|start| {
                let prefix = &self.wire[start - PREFIX..*start];
                let len = u32::from_le_bytes(prefix.try_into().expect("the slice has four bytes"))
                    as usize;
                &self.wire[*start..start + len]
            })
    }

    /// `len` elements from `first` on, sharing the buffers.
    ///
    /// # Panics
    /// If the range is out of bounds.
    pub fn slice(&self, first: usize, len: usize) -> Self {
        assert!(
            first + len <= self.len,
            "slice {first}+{len} of {} elements",
            self.len
        );
        Self {
            wire: self.wire.clone(),
            starts: self.starts.clone(),
            first: self.first + first,
            len,
        }
    }

    /// The binary form of these elements.
    pub fn wire(&self) -> Bytes {
        // The elements of a slice lie next to each other, so their wire form needs no copy.
        let from = self.offset(self.first);
        let to = self.offset(self.first + self.len);
        self.wire.slice(from..to)
    }

    /// Where an element begins with its length prefix; the end of the data for the one after the last.
    fn offset(&self, element: usize) -> usize {
        match self.starts.get(element) {
            Some(start) => start - PREFIX,
            None => self.wire.len(),
        }
    }
}

/// Collects byte strings into a [`StringArray`].
#[derive(Debug, Default)]
pub struct StringArrayBuilder {
    wire: Vec<u8>,
    starts: Vec<usize>,
}

impl StringArrayBuilder {
    /// Appends one element.
    ///
    /// # Panics
    /// If the element is 4 GiB or longer: bodies are limited far below that.
    pub fn push(&mut self, element: &[u8]) {
        let len = u32::try_from(element.len()).expect("an element is shorter than 4 GiB");
        self.wire.extend_from_slice(&len.to_le_bytes());
        // After the prefix: `starts` are the places of contents, as in `from_wire`.
        self.starts.push(self.wire.len());
        self.wire.extend_from_slice(element);
    }

    /// The number of elements so far.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The finished array.
    pub fn finish(self) -> StringArray {
        let len = self.starts.len();
        StringArray {
            wire: self.wire.into(),
            starts: self.starts.into(),
            first: 0,
            len,
        }
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for StringArray {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut builder = StringArrayBuilder::default();
        elements
            .into_iter()
            .for_each(|element| builder.push(element.as_ref()));
        builder.finish()
    }
}

/// A `BYTES` section that does not agree with its length prefixes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("element {element} at byte {at} runs over the end of the data")]
pub struct StringsError {
    element: usize,
    at: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_and_wire_form_agree() {
        let array: StringArray = ["a", "", "ccc"].into_iter().collect();
        assert_eq!(
            array.iter().collect::<Vec<_>>(),
            [b"a".as_slice(), b"", b"ccc"]
        );
        let tail = array.slice(1, 2);
        assert_eq!(tail.wire(), Bytes::from_static(b"\0\0\0\0\x03\0\0\0ccc"));
        assert_eq!(array.slice(1, 1).wire(), Bytes::from_static(b"\0\0\0\0"));
        let back = StringArray::from_wire(array.wire()).unwrap();
        assert_eq!(
            back.iter().collect::<Vec<_>>(),
            array.iter().collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_length_past_the_end_is_refused() {
        assert_eq!(
            StringArray::from_wire(Bytes::from_static(b"\x02\0\0\0a")).unwrap_err(),
            StringsError { element: 0, at: 0 }
        );
        assert!(StringArray::from_wire(Bytes::from_static(b"\x01\0\0")).is_err());
        assert!(StringArray::from_wire(Bytes::from_static(b"\xff\xff\xff\xffa")).is_err());
    }
}
