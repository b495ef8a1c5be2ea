//! Models of the algorithms, for loom.
