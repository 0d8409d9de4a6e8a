//! A submitted form, as it was typed.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;

use super::problem::Problem;

/// All fields in their order; one name may come several times.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of that name; empty when there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Every value of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is there: how a ticked check box looks.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The value of a text area: browsers end its lines with CR LF, which no description may hold.
    #[must_use]
    pub fn lines(&self, name: &str) -> String {
        self.get(name).replace("\r\n", "\n")
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await.map_err(|refused| match refused.status().as_u16() {
            413 => Problem::TooLarge,
            _ => Problem::Bad("The form did not arrive as a whole. Send it again."),
        })?;
        Ok(Self::parse(&body))
    }
}
