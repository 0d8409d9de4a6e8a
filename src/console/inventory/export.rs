//! The inventory as CSV (RFC 4180), for spreadsheets.

use std::sync::Arc;

use super::column::Column;
use super::row::Row;
use crate::api::Timestamp;

/// All rows with the eleven columns and, since one file may hold several, the namespace.
///
/// # Errors
/// Only when memory cannot be written to.
pub fn csv(rows: &[Arc<Row>]) -> Result<Vec<u8>, csv::Error> {
    let mut out = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    out.write_record(Column::ALL.iter().map(|column| column.title()).chain(["Namespace"]))?;
    for row in rows {
        let cells = Column::ALL.iter().map(|column| cell(*column, row)).chain([row.namespace.clone()]);
        out.write_record(cells.map(harmless))?;
    }
    out.into_inner().map_err(|error| error.into_error().into())
}

fn cell(column: Column, row: &Row) -> String {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    match column {
        Column::Name => row.name.clone(),
        Column::ClientId => row.client_id.clone(),
        Column::Description => row.description.clone(),
        Column::Mode => row.mode_title().to_owned(),
        Column::LastAccess => time(row.last_access),
        Column::AccountStatus => row.account.title().to_owned(),
        Column::SecretStatus => row.secret.title().to_owned(),
        Column::Email => row.email.clone(),
        Column::Created => row.created.to_string(),
        Column::SecretExpiry => time(row.expiry),
        Column::CreatedBy => row.created_by.clone(),
    }
}

/// A cell that a spreadsheet would take for a formula is made text by an apostrophe before it (OWASP, CSV injection).
fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        format!("'{text}")
    } else {
        text
    }
}
