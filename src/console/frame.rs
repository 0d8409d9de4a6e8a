//! What is around every page: who is signed in, the theme, and what is to be said.

use http::HeaderMap;

use super::assets::{self, Links};
use super::pages::INVENTORY;

/// The theme cookie.
pub const THEME_COOKIE: &str = "keyrota-theme";

/// How the pages are coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system is.
    #[default]
    Auto,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// In the cookie, the form and the HTML.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// As it is shown.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Auto => "Like the system",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }

    /// The theme of that key; unknown ones are the system's.
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        Self::ALL.into_iter().find(|theme| theme.key() == key).unwrap_or_default()
    }
}

/// How a message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It is done.
    Good,
    /// For your information.
    Info,
    /// Mind this.
    Warning,
    /// It failed.
    Bad,
}

impl Tone {
    /// Its class.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// Something to say once, above the page.
#[derive(Clone, Debug)]
pub struct Flash {
    /// How it is meant.
    pub tone: Tone,
    /// In one sentence.
    pub title: String,
    /// The result for each account, where there were several.
    pub results: Vec<Outcome>,
}

/// What became of one account.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it went.
    pub tone: Tone,
    /// Which one.
    pub what: String,
    /// What happened.
    pub result: String,
}

impl Flash {
    /// A message of one sentence.
    #[must_use]
    pub fn new(tone: Tone, title: impl Into<String>) -> Self {
        Self { tone, title: title.into(), results: Vec::new() }
    }
}

/// What is around a page.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The signed-in user.
    pub user: Option<String>,
    /// The colours.
    pub theme: Theme,
    /// Where we are, as path and query of a page that can be opened: a form's own address is often none.
    pub here: String,
    /// What is to be said.
    pub flashes: Vec<Flash>,
    /// Where the assets are.
    pub links: &'static Links,
    /// htmx asks, for a part of the page.
    pub partial: bool,
}

impl Frame {
    /// For a request, before anybody is known.
    #[must_use]
    pub fn of(headers: &HeaderMap, uri: &http::Uri) -> Self {
        let jar = axum_extra::extract::CookieJar::from_headers(headers);
        Self {
            user: None,
            theme: jar.get(THEME_COOKIE).map(|cookie| Theme::of_key(cookie.value())).unwrap_or_default(),
            here: page_of(uri).to_owned(),
            flashes: Vec::new(),
            links: assets::links(),
            partial: headers.contains_key("hx-request"),
        }
    }
}

/// The page that a form stands on, by the address that it is sent to.
fn page_of(uri: &http::Uri) -> &str {
    let path = uri.path();
    if path == "/accounts/actions" {
        return INVENTORY;
    }
    match (path.rsplit_once('/'), uri.query()) {
        // /accounts/NAMESPACE/NAME/secret, and not an account of that name
        (Some((account, "secret" | "download" | "regenerate")), None) if account.split('/').count() == 4 => account,
        _ => uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/accounts?q=a&page=2", "/accounts?q=a&page=2")]
    #[case("/accounts/actions", "/accounts")]
    #[case("/accounts/shop/a/secret", "/accounts/shop/a")]
    #[case("/accounts/shop/a/download", "/accounts/shop/a")]
    #[case("/accounts/shop/a/regenerate", "/accounts/shop/a")]
    #[case("/accounts/shop/a/regenerate?what=client-id", "/accounts/shop/a/regenerate?what=client-id")]
    #[case("/accounts/shop/a/groups", "/accounts/shop/a/groups")]
    #[case("/accounts/shop/secret", "/accounts/shop/secret")]
    #[case("/accounts/new", "/accounts/new")]
    fn one_goes_back_to_a_page_and_never_to_the_address_of_a_form(#[case] uri: &str, #[case] page: &str) {
        assert_eq!(page_of(&uri.parse().unwrap()), page);
    }
}
