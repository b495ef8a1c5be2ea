//! The ways to make and find an object other than `new`, and to hand it to a child that inherits no
//! memory: the same for every type that has a place of its own.

/// Writes them for a type that has `make(Location, arguments)` and `find(Location)`. `$what` is what
/// the documentation calls one of them.
macro_rules! constructors {
    ($what:literal, $($argument:ident: $type:ty),* $(,)?) => {
        #[doc = concat!("Makes ", $what, " and gives it a name.")]
        ///
        /// # Errors
        /// [`NameTaken`](crate::Error::NameTaken), [`InvalidName`](crate::Error::InvalidName),
        /// [`NoSpace`](crate::Error::NoSpace), [`TooLarge`](crate::Error::TooLarge), and for a size
        /// of nothing [`Zero`](crate::Error::Zero).
        pub fn create(name: &str, $($argument: $type),*) -> crate::Result<Self> {
            Self::make(crate::segment::Location::Named(name), $($argument),*)
        }

        #[doc = concat!("Opens ", $what, " by its name.")]
        ///
        /// # Errors
        /// [`NotFound`](crate::Error::NotFound); [`TypeMismatch`](crate::Error::TypeMismatch) where
        /// it is another object or has another type; for what has an owner,
        /// [`OtherPidNamespace`](crate::Error::OtherPidNamespace); and as
        /// [`Segment::open`](crate::Segment::open).
        pub fn open(name: &str) -> crate::Result<Self> {
            Self::find(crate::segment::Location::Named(name))
        }

        #[doc = concat!("Opens ", $what, " by its name, or makes it.")]
        /// One that was there keeps what it has. Of several processes that do so at once, one makes
        /// it.
        ///
        /// # Errors
        /// As `open` and `create`, without `NotFound` and `NameTaken`.
        pub fn open_or_create(
            name: &str,
            $($argument: $type),*
        ) -> crate::Result<(Self, crate::segment::Origin)> {
            crate::segment::open_or_create(
                || Self::open(name),
                || Self::create(name, $($argument),*),
            )
        }

        #[doc = concat!("Makes ", $what, " in a segment, under a label.")]
        ///
        /// # Errors
        /// [`LabelTaken`](crate::Error::LabelTaken), [`InvalidLabel`](crate::Error::InvalidLabel),
        /// [`SegmentFull`](crate::Error::SegmentFull); otherwise as `create`, without its names.
        pub fn new_in(
            segment: &crate::segment::Segment,
            label: &str,
            $($argument: $type),*
        ) -> crate::Result<Self> {
            Self::make(crate::segment::Location::In(segment, label), $($argument),*)
        }

        #[doc = concat!("Opens ", $what, " in a segment by its label.")]
        ///
        /// # Errors
        /// [`LabelNotFound`](crate::Error::LabelNotFound); otherwise as `open`, without `NotFound`.
        pub fn open_in(segment: &crate::segment::Segment, label: &str) -> crate::Result<Self> {
            Self::find(crate::segment::Location::In(segment, label))
        }

        #[doc = concat!("Opens ", $what, " in a segment by its label, or makes it.")]
        ///
        /// # Errors
        /// As `open_in` and `new_in`, without `LabelNotFound` and `LabelTaken`.
        pub fn open_or_create_in(
            segment: &crate::segment::Segment,
            label: &str,
            $($argument: $type),*
        ) -> crate::Result<(Self, crate::segment::Origin)> {
            crate::segment::open_or_create(
                || Self::open_in(segment, label),
                || Self::new_in(segment, label, $($argument),*),
            )
        }

        /// Takes a name away, of whatever has it. Who has it open keeps it. As
        /// [`Segment::unlink`](crate::Segment::unlink).
        ///
        /// # Errors
        /// [`NotFound`](crate::Error::NotFound), [`NotOurs`](crate::Error::NotOurs),
        /// [`InvalidName`](crate::Error::InvalidName).
        pub fn unlink(name: &str) -> crate::Result<()> {
            crate::segment::Segment::unlink(name)
        }
    };
}
/// Lets handles of a type travel: `$given` is what of `$this` is handed over, an attachment and a
/// number; `$found` makes one of a `Used` ticket.
macro_rules! travels {
    ([$($generics:tt)*] $type:ty, $sharing:ident,
     |$this:ident| $given:expr, |$used:ident| $found:expr) => {
        /// For arguments of children and for [`send_handle`](crate::pipe::Writer::send_handle) alone.
        #[cfg(feature = "serde")]
        impl<$($generics)*> serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $this = self;
                let sharing = crate::segment::Sharing::$sharing;
                let handle = concat!(module_path!(), "::", stringify!($type));
                crate::segment::give(serializer, $given, handle, sharing)
            }
        }

        /// For arguments of children and for [`send_handle`](crate::pipe::Writer::send_handle) alone.
        #[cfg(feature = "serde")]
        impl<'de, $($generics)*> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let handle = concat!(module_path!(), "::", stringify!($type));
                crate::segment::receive(deserializer, handle, |$used| $found)
            }
        }
    };
}

pub(crate) use {constructors, travels};
