//! Tests of the whole framework.
