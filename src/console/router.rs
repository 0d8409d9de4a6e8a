//! Paths to pages.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::visit::App;
use super::{assets, pages};

/// All pages. What changes something is a POST, and so is what shows a secret.
pub fn router() -> Router<Arc<App>> {
    use pages::{actions, add, groups, inventory, manage, regenerate, secret, signin, theme};
    Router::new()
        .route("/", get(signin::home))
        .route("/signin", get(signin::show).post(signin::enter))
        .route("/signout", post(signin::leave))
        .route("/theme", post(theme::choose))
        .route(pages::INVENTORY, get(inventory::show))
        .route("/accounts.csv", get(inventory::export))
        .route("/accounts/actions", post(actions::act))
        .route("/accounts/new", get(add::show).post(add::submit))
        .route("/accounts/{namespace}/{name}", get(manage::show).post(manage::submit))
        .route("/accounts/{namespace}/{name}/groups", get(groups::show).post(groups::assign))
        .route("/accounts/{namespace}/{name}/secret", post(secret::reveal))
        .route("/accounts/{namespace}/{name}/download", post(secret::download))
        .route("/accounts/{namespace}/{name}/regenerate", get(regenerate::confirm).post(regenerate::regenerate))
        .route("/assets/{digest}/{name}", get(assets::serve))
}
