//! Held to what a person would get.
