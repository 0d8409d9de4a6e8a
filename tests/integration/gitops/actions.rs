//! Argo CD's actions, run by its Lua on live accounts, do what their names say.

use kube::api::PostParams;
use serde_json::{Value, json};

use super::tools::{Verdict, judged};
use crate::common::operator::{Operator, condition};

/// What the tools say of the account now; None without Go.
async fn look(operator: &Operator, name: &str) -> Option<Verdict> {
    let account = operator.accounts().get(name).await.unwrap();
    judged(vec![serde_json::to_value(&account).unwrap()]).await?.pop()
}

/// Writes what an action made of the account, as Argo CD does.
async fn act(operator: &Operator, name: &str, action: &str) -> Option<()> {
    let mut verdict = look(operator, name).await?;
    assert_eq!(verdict.actions[action], json!({"disabled": false}), "{action} is offered");
    let mut object: Value = verdict.after.remove(action).unwrap();
    // Lua knows one empty table for lists and objects.
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    object.as_object_mut().unwrap().remove("status");
    let object = serde_json::from_value(object).unwrap();
    operator.accounts().replace(name, &PostParams::default(), &object).await.unwrap();
    Some(())
}

async fn actions(operator: &Operator) -> Option<()> {
    operator.ready("app", json!({})).await;
    let first = operator.credential("app-credentials").await;
    act(operator, "app", "regenerate-client-secret").await?;
    let second = operator.next_credential("app-credentials", &first).await;
    assert_eq!(second.0, first.0, "the client ID stays");
    operator
        .until("app", "settled", |status| status.handled.as_ref().is_some_and(|h| h.regenerate_time.is_some()))
        .await;

    // Acted on when newer: the action tells whole seconds.
    let handled = operator.clock.timestamp();
    crate::common::eventually("a second goes by", crate::common::operator::SOON, async || {
        (operator.clock.timestamp() > handled).then_some(())
    })
    .await;
    act(operator, "app", "regenerate-client-id").await?;
    let third = operator.next_credential("app-credentials", &second).await;
    assert_ne!(third.0, second.0, "the client ID is another one");
    operator.until("app", "settled", |status| status.client_id.as_ref() == Some(&third.0)).await;

    assert_eq!(look(operator, "app").await?.actions["enable"], json!({"disabled": true}));
    act(operator, "app", "disable").await?;
    operator.until("app", "Disabled", |status| condition(status, "Ready").1 == "Disabled").await;
    assert_eq!(look(operator, "app").await?.actions["disable"], json!({"disabled": true}));
    act(operator, "app", "enable").await?;
    operator.until("app", "enabled", |status| condition(status, "Ready").1 == "Published").await;
    assert_eq!(operator.credential("app-credentials").await, third);

    let external = json!({"authentication": {"mode": "External", "externalClientId": "ci"}});
    operator.create("external", external).await;
    let offered = look(operator, "external").await?.actions;
    for name in ["regenerate-client-secret", "regenerate-client-id"] {
        assert_eq!(offered[name], json!({"disabled": true}), "an External account has nothing to regenerate");
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cds_actions_regenerate_disable_and_enable() {
    let operator = Operator::start().await;
    // Without Go there is no Lua.
    let _ = actions(&operator).await;
}
