//! Paths to pages.

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, get, post};

use super::visit::App;
use super::{assets, pages};

/// All pages.
pub fn router() -> Router<Arc<App>> {
    routes().into_iter().fold(Router::new(), |router, (path, page)| router.route(path, page))
}

/// Their paths.
pub fn paths() -> impl Iterator<Item = &'static str> {
    routes().into_iter().map(|(path, _)| path)
}

/// What changes something is a POST, and so is what shows a secret.
fn routes() -> Vec<(&'static str, MethodRouter<Arc<App>>)> {
    use pages::{actions, add, groups, inventory, manage, regenerate, secret, signin, theme};
    vec![
        ("/", get(signin::home)),
        ("/signin", get(signin::show).post(signin::enter)),
        ("/signout", post(signin::leave)),
        ("/theme", post(theme::choose)),
        (pages::INVENTORY, get(inventory::show)),
        ("/accounts.csv", get(inventory::export)),
        ("/accounts/actions", post(actions::act)),
        ("/accounts/new", get(add::show).post(add::submit)),
        ("/accounts/{namespace}/{name}", get(manage::show).post(manage::submit)),
        ("/accounts/{namespace}/{name}/groups", get(groups::show).post(groups::assign)),
        ("/accounts/{namespace}/{name}/secret", post(secret::reveal)),
        ("/accounts/{namespace}/{name}/download", post(secret::download)),
        ("/accounts/{namespace}/{name}/regenerate", get(regenerate::confirm).post(regenerate::regenerate)),
        ("/assets/{digest}/{name}", get(assets::serve)),
    ]
}
