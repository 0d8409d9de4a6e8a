//! The page of a problem, in the same design as the others.

use askama::Template;
use axum::response::Response;

use super::html;
use crate::console::frame::Frame;
use crate::console::problem::Problem;

#[derive(Template)]
#[template(path = "error.html")]
struct Page<'a> {
    frame: &'a Frame,
    code: u16,
    title: &'static str,
    text: String,
}

/// What went wrong, and the way back.
pub fn page(frame: Frame, problem: &Problem) -> Response {
    let status = problem.status();
    html(status, &Page { frame: &frame, code: status.as_u16(), title: problem.title(), text: problem.text() })
}
