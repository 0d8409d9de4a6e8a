//! One test binary for everything that needs more than the library: one module per promise.

// `cfg(test)` is always true here; it tells clippy that helpers outside a test function are tests too.
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod legacy_gateway;
