//! Functions of several arguments, called with a tuple of them.

/// Functions whose arguments are the parts of the tuple `A`.
pub trait Spread<A>: Copy + Send + 'static {
    /// What the function gives.
    type Output;

    /// Calls it.
    fn spread(&self, arguments: A) -> Self::Output;
}

macro_rules! spread {
    ($($name:ident: $type:ident),+) => {
        impl<F, R, $($type),+> Spread<($($type,)+)> for F
        where
            F: Fn($($type),+) -> R + Copy + Send + 'static,
        {
            type Output = R;

            #[inline]
            fn spread(&self, ($($name,)+): ($($type,)+)) -> R {
                self($($name),+)
            }
        }
    };
}

spread!(a: A);
spread!(a: A, b: B);
spread!(a: A, b: B, c: C);
spread!(a: A, b: B, c: C, d: D);
spread!(a: A, b: B, c: C, d: D, e: E);
spread!(a: A, b: B, c: C, d: D, e: E, f: G);
