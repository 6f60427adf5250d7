//! Typed, shaped values.

mod element;
mod error;

use bytemuck::Pod;
use bytes::Bytes;

pub use self::element::Element;
pub use self::error::TensorError;
use crate::{DataType, Shape, ShapeError, StringArray};

/// A row-major tensor. Cloning and slicing along axis 0 share the memory.
///
/// Fixed-width elements are little-endian, as on the wire and on every machine that Tidegate runs
/// on. Every tensor holds exactly as many elements as its shape says.
///
/// ```
/// use tidegate_core::{Shape, Tensor};
///
/// let tensor = Tensor::from_vec(Shape::new(&[3, 2])?, vec![1i64, 2, 3, 4, 5, 6])?;
/// let tail = tensor.slice_rows(1, 2);
/// assert_eq!(tail.as_slice::<i64>(), Some([3, 4, 5, 6].as_slice()));
/// let joined = Tensor::concat_rows(&[&tail, &tensor])?;
/// assert_eq!(joined.shape()[..], [5, 2]);
/// # Ok::<(), tidegate_core::TensorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tensor {
    datatype: DataType,
    shape: Shape,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    Fixed(Bytes),
    Strings(StringArray),
}

/// A borrowed view of the elements of a [`Tensor`].
#[derive(Debug)]
pub enum TensorView<'a> {
    /// The little-endian bytes of fixed-width elements.
    Fixed(&'a Bytes),
    /// Byte strings.
    Strings(&'a StringArray),
}

impl Tensor {
    /// A tensor over bytes in the protocol's binary form, without a copy.
    ///
    /// # Errors
    /// If the bytes do not hold exactly the elements that `shape` asks for.
    pub fn from_wire(datatype: DataType, shape: Shape, bytes: Bytes) -> Result<Self, TensorError> {
        let Some(element_bytes) = datatype.element_bytes() else {
            return Self::from_strings(shape, StringArray::from_wire(bytes)?);
        };
        let wanted = shape
            .element_count()
            .checked_mul(element_bytes)
            .ok_or_else(|| too_large(&shape))?;
        if wanted != bytes.len() {
            return Err(TensorError::ByteCount {
                shape,
                datatype,
                wanted,
                found: bytes.len(),
            });
        }
        // Engines read a BOOL as Rust's or C's `bool`, where any other byte is undefined behaviour.
        if datatype == DataType::Bool
            && let Some(at) = bytes.iter().position(|byte| *byte > 1)
        {
            return Err(TensorError::NotBool {
                at,
                found: bytes[at],
            });
        }
        Ok(Self {
            datatype,
            shape,
            data: Data::Fixed(bytes),
        })
    }

    /// A `BYTES` tensor.
    ///
    /// # Errors
    /// If there are not as many strings as `shape` asks for.
    pub fn from_strings(shape: Shape, strings: StringArray) -> Result<Self, TensorError> {
        if strings.len() != shape.element_count() {
            return Err(TensorError::ElementCount {
                shape,
                found: strings.len(),
            });
        }
        Ok(Self {
            datatype: DataType::Bytes,
            shape,
            data: Data::Strings(strings),
        })
    }

    /// A tensor that takes over a vector, aligned for its element type.
    ///
    /// # Errors
    /// If there are not as many elements as `shape` asks for.
    pub fn from_vec<T: Element>(shape: Shape, elements: Vec<T>) -> Result<Self, TensorError> {
        if elements.len() != shape.element_count() {
            return Err(TensorError::ElementCount {
                shape,
                found: elements.len(),
            });
        }
        Ok(Self {
            datatype: T::DATATYPE,
            shape,
            // The vector itself becomes the tensor's memory: results of engines are not copied
            // again.
            data: Data::Fixed(Bytes::from_owner(Elements(elements))),
        })
    }

    /// A tensor over a copy of `elements`, aligned for their type.
    ///
    /// # Errors
    /// If there are not as many elements as `shape` asks for, or the machine does not give the
    /// memory.
    pub fn copy_of<T: Element>(shape: Shape, elements: &[T]) -> Result<Self, TensorError> {
        let bytes = size_of_val(elements);
        let mut copy = Vec::new();
        copy.try_reserve_exact(elements.len())
            .map_err(|_| TensorError::OutOfMemory { bytes })?;
        copy.extend_from_slice(elements);
        Self::from_vec(shape, copy)
    }

    /// The element type.
    pub fn datatype(&self) -> DataType {
        self.datatype
    }

    /// The extents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The extent of axis 0; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// The elements.
    pub fn view(&self) -> TensorView<'_> {
        match &self.data {
            Data::Fixed(bytes) => TensorView::Fixed(bytes),
            Data::Strings(strings) => TensorView::Strings(strings),
        }
    }

    /// The protocol's binary form, sharing the memory.
    pub fn wire(&self) -> Bytes {
        match &self.data {
            Data::Fixed(bytes) => bytes.clone(),
            Data::Strings(strings) => strings.wire(),
        }
    }

    /// Bytes in the protocol's binary form.
    pub fn byte_len(&self) -> usize {
        match &self.data {
            Data::Fixed(bytes) => bytes.len(),
            Data::Strings(strings) => strings.wire().len(),
        }
    }

    /// The elements as a slice, when the type fits and the memory is aligned for it.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        match &self.data {
            Data::Fixed(bytes) if self.datatype == T::DATATYPE => {
                bytemuck::try_cast_slice(bytes).ok()
            }
            _ => None,
        }
    }

    /// The elements as a vector, copied whatever the alignment. `None` when the type does not fit.
    pub fn to_vec<T: Element>(&self) -> Option<Vec<T>> {
        match &self.data {
            Data::Fixed(bytes) if self.datatype == T::DATATYPE => Some(copy_aligned(bytes)),
            _ => None,
        }
    }

    /// `rows` entries of axis 0 from `first` on, sharing the memory.
    ///
    /// # Panics
    /// If the tensor is a scalar or the range is out of bounds.
    pub fn slice_rows(&self, first: usize, rows: usize) -> Self {
        assert!(
            first + rows <= self.rows() && !self.shape.is_empty(),
            "rows {first}+{rows} of {}",
            self.shape
        );
        let shape = self
            .shape
            .with_rows(rows)
            .expect("fewer rows than a shape that fits");
        let row_elements: usize = self.shape[1..].iter().product();
        let data = match &self.data {
            Data::Fixed(bytes) => {
                let row_bytes =
                    row_elements * self.datatype.element_bytes().expect("fixed-width data");
                Data::Fixed(bytes.slice(first * row_bytes..(first + rows) * row_bytes))
            }
            Data::Strings(strings) => {
                Data::Strings(strings.slice(first * row_elements, rows * row_elements))
            }
        };
        Self {
            datatype: self.datatype,
            shape,
            data,
        }
    }

    /// One tensor with the rows of all `parts`, in order; a single part is shared, not copied.
    ///
    /// # Errors
    /// If the parts differ in data type or in an axis other than 0, or are scalars.
    pub fn concat_rows(parts: &[&Self]) -> Result<Self, TensorError> {
        let [first, rest @ ..] = parts else {
            return Err(TensorError::NothingToJoin);
        };
        if rest.is_empty() {
            return Ok((*first).clone());
        }
        // Requests may all fit a signature with dynamic axes and still not fit each other.
        if let Some(other) = parts.iter().find(|part| !part.can_join(first)) {
            return Err(TensorError::Mismatch {
                one: first.shape.clone(),
                other: other.shape.clone(),
            });
        }
        let rows = parts
            .iter()
            .map(|part| part.rows())
            .try_fold(0usize, usize::checked_add)
            .ok_or_else(|| too_large(&first.shape))?;
        let shape = first.shape.with_rows(rows)?;
        if first.datatype == DataType::Bytes {
            return Self::from_strings(shape, joined_strings(parts));
        }
        let joined = Self {
            datatype: first.datatype,
            shape,
            data: Data::Fixed(joined_bytes(parts)?),
        };
        // Without this an engine that needs aligned memory would copy the whole batch once more.
        Ok(joined.aligned())
    }

    /// Whether the rows of this tensor can follow those of `first`.
    fn can_join(&self, first: &Self) -> bool {
        self.datatype == first.datatype
            && !self.shape.is_empty()
            && self.shape.get(1..) == first.shape.get(1..)
    }

    /// The same tensor in memory of its own: it may be a part of a larger one, which it would keep
    /// from being freed. Without memory it stays as it is.
    #[must_use]
    pub fn detached(&self) -> Self {
        let Data::Fixed(bytes) = &self.data else {
            let wire = Bytes::copy_from_slice(&self.wire());
            return Self::from_wire(self.datatype, self.shape.clone(), wire)
                .unwrap_or_else(|_| self.clone());
        };
        match TensorBuffer::new(self.datatype, self.shape.clone()) {
            None => self.clone(),
            Some(mut buffer) => {
                buffer.bytes_mut().copy_from_slice(bytes);
                buffer.finish()
            }
        }
    }

    /// Whether the elements' memory is aligned to their size.
    pub fn is_aligned(&self) -> bool {
        let Data::Fixed(bytes) = &self.data else {
            return true;
        };
        // On every platform served here, no element type needs more alignment than its size.
        let align = self.datatype.element_bytes().unwrap_or(1);
        bytes.as_ptr().align_offset(align) == 0
    }

    /// The same elements in memory aligned to their size, copied only where needed.
    pub fn aligned(self) -> Self {
        let Data::Fixed(bytes) = &self.data else {
            return self;
        };
        if self.is_aligned() {
            return self;
        }
        // Allocators do not promise to align bytes for other types, but nearly always do. A plain copy
        // is tried first, because aligned memory from `AlignedBytes` is filled with zeros before the copy.
        let copy = Self {
            data: Data::Fixed(bytes.to_vec().into()),
            ..self
        };
        if copy.is_aligned() {
            return copy;
        }
        let Data::Fixed(bytes) = &copy.data else {
            return copy;
        };
        let mut aligned = AlignedBytes::zeroed(bytes.len()).expect("as much as was there before");
        aligned.bytes_mut().copy_from_slice(bytes);
        Self {
            data: Data::Fixed(aligned.finish()),
            ..copy
        }
    }
}

/// Memory for a tensor of fixed-width elements that is still to be written, all zero at first.
#[derive(Debug)]
pub struct TensorBuffer {
    datatype: DataType,
    shape: Shape,
    bytes: AlignedBytes,
}

impl TensorBuffer {
    /// Takes the memory, aligned for the element type. `None` for [`DataType::Bytes`], and for what
    /// cannot be addressed or what the machine does not give: the shape may be that of a model or
    /// a request.
    pub fn new(datatype: DataType, shape: Shape) -> Option<Self> {
        let len = shape
            .element_count()
            .checked_mul(datatype.element_bytes()?)?;
        Some(Self {
            datatype,
            shape,
            bytes: AlignedBytes::zeroed(len)?,
        })
    }

    /// The extents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The memory, to be written with little-endian elements.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.bytes_mut()
    }

    /// The tensor over the written memory. Bytes of a `BOOL` tensor must be 0 or 1.
    pub fn finish(self) -> Tensor {
        Tensor {
            datatype: self.datatype,
            shape: self.shape,
            data: Data::Fixed(self.bytes.finish()),
        }
    }
}

/// Bytes whose start is aligned to eight of them, enough for every data type.
#[derive(Debug)]
struct AlignedBytes {
    /// A vector of `u64` is the safe way to get memory of this alignment.
    words: Vec<u64>,
    len: usize,
}

impl AlignedBytes {
    /// `None` if the machine does not give so much memory.
    fn zeroed(len: usize) -> Option<Self> {
        let words = bytemuck::allocation::try_zeroed_vec(len.div_ceil(8)).ok()?;
        Some(Self { words, len })
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }

    fn finish(self) -> Bytes {
        let len = self.len;
        Bytes::from_owner(Elements(self.words)).slice(..len)
    }
}

/// Lends the memory of a vector of plain values as bytes.
struct Elements<T>(Vec<T>);

impl<T: Pod> AsRef<[u8]> for Elements<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

fn joined_strings(parts: &[&Tensor]) -> StringArray {
    let strings = parts.iter().flat_map(|part| match &part.data {
        Data::Strings(strings) => strings.iter().collect::<Vec<_>>(),
        // Not reached: the parts have passed `can_join` and have one data type.
        Data::Fixed(_) => Vec::new(),
    });
    strings.collect()
}

fn joined_bytes(parts: &[&Tensor]) -> Result<Bytes, TensorError> {
    let bytes = parts.iter().map(|part| part.byte_len()).sum();
    let mut joined = Vec::new();
    joined
        .try_reserve_exact(bytes)
        .map_err(|_| TensorError::OutOfMemory { bytes })?;
    for part in parts {
        if let Data::Fixed(bytes) = &part.data {
            joined.extend_from_slice(bytes);
        }
    }
    Ok(joined.into())
}

fn copy_aligned<T: Pod>(bytes: &[u8]) -> Vec<T> {
    bytemuck::allocation::pod_collect_to_vec(bytes)
}

fn too_large(shape: &Shape) -> TensorError {
    TensorError::Shape(ShapeError::Overflow {
        shape: shape.to_string(),
    })
}

#[cfg(test)]
mod tests;
