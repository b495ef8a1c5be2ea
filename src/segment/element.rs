//! What may be in shared memory.

/// Types whose values can cross by copy: of fixed size, without padding or pointers, and checkable
/// for validity.
///
/// Implemented for everything that is [`bytemuck::NoUninit`] and [`bytemuck::CheckedBitPattern`]:
/// numbers, `bool`, `char`, arrays of numbers, and `#[repr(C)]` structs and field-less enums that
/// derive both.
///
/// # Examples
/// ```
/// #[derive(Clone, Copy, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
/// #[repr(C)]
/// struct Tick {
///     price: f64,
///     size: u32,
///     is_bid: bool,
///     padding: [u8; 3],
/// }
/// let (mut producer, mut consumer) = commons::spsc::ring::<Tick>(16)?;
/// producer.push(Tick { price: 1.5, size: 7, is_bid: true, padding: [0; 3] })?;
/// assert_eq!(consumer.pop()?.size, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Element: bytemuck::NoUninit + bytemuck::CheckedBitPattern {}

impl<T: bytemuck::NoUninit + bytemuck::CheckedBitPattern> Element for T {}
