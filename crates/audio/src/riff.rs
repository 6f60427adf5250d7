//! The chunks of a RIFF file.

/// A chunk: its name and where its content is. The content may end behind the end of the file.
pub(crate) struct Chunk {
    pub(crate) name: [u8; 4],
    pub(crate) begin: usize,
    pub(crate) length: usize,
}

/// The chunks behind the name of the file's kind.
pub(crate) struct Chunks<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 12 }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let head = self.bytes.get(self.at..self.at.checked_add(8)?)?;
        let name = head[..4].try_into().ok()?;
        let length = u32::from_le_bytes(head[4..].try_into().ok()?) as usize;
        let begin = self.at + 8;
        self.at = begin.saturating_add(length.saturating_add(length & 1));
        Some(Chunk {
            name,
            begin,
            length,
        })
    }
}
