//! What only the ring can do.
