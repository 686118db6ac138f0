//! Parts of the end-to-end tests.
