//! A worker gone mad, see `ring::hostile`.
