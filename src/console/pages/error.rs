//! The page of a problem, in the same design as the others; or a line of it above the page that htmx stays on.

use askama::Template;
use axum::response::Response;
use http::HeaderValue;

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

#[derive(Template)]
#[template(path = "problem.html")]
struct Line {
    title: &'static str,
    text: String,
}

/// Where htmx puts it, whatever part of the page it asked for: nothing that was typed goes.
const PLACE: [(&str, &str); 3] =
    [("hx-retarget", "#problem"), ("hx-reselect", ".problem"), ("hx-reswap", "innerHTML show:top")];

/// What went wrong, and the way back.
pub fn page(frame: Frame, problem: &Problem) -> Response {
    let (status, title, text) = (problem.status(), problem.title(), problem.text());
    if !frame.partial {
        return html(status, &Page { frame: &frame, code: status.as_u16(), title, text });
    }
    let mut response = html(status, &Line { title, text });
    for (name, value) in PLACE {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
