//! The inventory: what the watches know of accounts, and the part of it that one page asks for. Pure but for [`feed`].

mod column;
pub mod export;
pub mod feed;
mod holdings;
mod query;
mod row;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use column::Column;
pub use holdings::Holdings;
pub use query::{PAGE_SIZES, Query, WITHIN_DAYS};
pub use row::{AccountState, Row, SecretState};

use std::sync::Arc;

/// One page of the inventory.
#[derive(Debug)]
pub struct Page {
    /// The rows on it, in order.
    pub rows: Vec<Arc<Row>>,
    /// How many rows there are on all pages.
    pub total: usize,
    /// Its number, from 1.
    pub number: usize,
    /// The number of the last one.
    pub last: usize,
    /// The position of its first row among all, from 1; 0 when there is none.
    pub first_row: usize,
    /// The position of its last row.
    pub last_row: usize,
}

/// Cuts the page that the query asks for; past the end it is the last one.
#[must_use]
pub fn page(all: Vec<Arc<Row>>, query: &Query) -> Page {
    let (total, size) = (all.len(), query.size);
    let last = total.div_ceil(size).max(1);
    let number = query.page.clamp(1, last);
    let before = (number - 1) * size;
    let rows: Vec<_> = all.into_iter().skip(before).take(size).collect();
    let last_row = before + rows.len();
    Page { first_row: if rows.is_empty() { 0 } else { before + 1 }, rows, total, number, last, last_row }
}
