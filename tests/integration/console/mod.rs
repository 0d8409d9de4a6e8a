//! The console, as browsers and those who pretend to be one see it.

mod accounts;
mod browser;
mod rights;
mod sessions;

use std::net::SocketAddr;
use std::sync::Arc;

use keyrota::clock::Clock;
use keyrota::config;
use keyrota::console;
use keyrota::entropy::SystemEntropy;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use tokio::task::JoinHandle;

use super::common::eventually;
use super::common::operator::{Operator, SOON, free_address, kubectl};

/// A running console, under its own service account.
pub(crate) struct Console {
    base: String,
    /// Where its probes and metrics are.
    pub(crate) health: String,
    process: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Console {
    fn drop(&mut self) {
        self.process.abort();
    }
}

impl Console {
    /// Over plain HTTP, as behind a proxy, for the operator's namespace and another one.
    pub(crate) async fn start(operator: &Operator, others: &[&str], clock: Arc<dyn Clock>) -> Self {
        let listen = free_address();
        let arguments = ["--tls", "off"].map(str::to_owned);
        Self::start_with(operator, others, clock, listen, &format!("http://{listen}"), &arguments).await
    }

    async fn start_with(
        operator: &Operator,
        others: &[&str],
        clock: Arc<dyn Clock>,
        listen: SocketAddr,
        origin: &str,
        further: &[String],
    ) -> Self {
        let kubeconfig =
            operator.control_plane.service_account_kubeconfig(&operator.own.name, "keyrota-console").await.unwrap();
        let health = free_address();
        let namespaces = [&[operator.tenant.name.as_str()], others].concat().join(",");
        let (listen, probes) = (listen.to_string(), health.to_string());
        let common = [
            "--kubeconfig",
            kubeconfig.to_str().unwrap(),
            "--operator-namespace",
            &operator.own.name,
            "--watch-namespaces",
            &namespaces,
            "--external-url",
            origin,
            "--listen",
            &listen,
            "--health-listen",
            &probes,
            "--drain",
            "0s",
        ];
        let further: Vec<&str> = further.iter().map(String::as_str).collect();
        let arguments = config::parse(&[&common, further.as_slice()].concat()).unwrap();
        let process = tokio::spawn(console::run(arguments, clock, Arc::new(SystemEntropy), std::future::pending()));
        let probe = reqwest::Client::builder().no_proxy().build().unwrap();
        eventually("the console is ready", SOON, async || {
            assert!(!process.is_finished(), "the console ended");
            let answer = probe.get(format!("http://{health}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        Self { base: origin.to_owned(), health: probes, process }
    }

    /// A browser that nobody has signed in with.
    fn visitor(&self) -> Visitor {
        let policy = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(policy).timeout(SOON).build().unwrap();
        Visitor { http, base: self.base.clone(), cookie: None }
    }

    /// A browser of somebody with this token.
    pub(crate) async fn signed_in(&self, token: &str) -> Visitor {
        let mut visitor = self.visitor();
        let answer = visitor.sign_in(token).await;
        assert_eq!((answer.status, answer.location()), (303, "/accounts"), "{}", answer.body);
        visitor
    }
}

/// A browser, as far as cookies go.
#[derive(Clone)]
pub(crate) struct Visitor {
    http: reqwest::Client,
    base: String,
    /// `name=value` of the session cookie.
    cookie: Option<String>,
}

/// An answer.
pub(crate) struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn location(&self) -> &str {
        self.headers.get(LOCATION).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn has(&self, text: &str) -> &Self {
        assert!(self.body.contains(text), "no {text:?} in {} {}", self.status, self.body);
        self
    }

    #[track_caller]
    fn lacks(&self, text: &str) -> &Self {
        assert!(!self.body.contains(text), "{text:?} in {} {}", self.status, self.body);
        self
    }

    /// The value of an input, by its id.
    fn value(&self, id: &str) -> Option<String> {
        let tag = self.body.split(&format!("id=\"{id}\"")).nth(1)?.split('>').next()?;
        Some(tag.split("value=\"").nth(1)?.split('"').next()?.to_owned())
    }
}

impl Visitor {
    async fn sign_in(&mut self, token: &str) -> Answer {
        let answer = self.post("/signin", &[("token", token)]).await;
        if let Some(set) = answer.headers.get(SET_COOKIE) {
            self.cookie = Some(set.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.http.get(format!("{}{path}", self.base));
        self.send(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_with(path, form, &[]).await
    }

    async fn post_with(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self.http.post(format!("{}{path}", self.base)).body(body);
        request = request.header("Content-Type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Answer {
        if let Some(cookie) = &self.cookie {
            request = request.header("Cookie", cookie);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, body: answer.text().await.unwrap() }
    }
}

/// A Kubernetes service account with these rights in a namespace; returns a token of it.
pub(crate) async fn person(operator: &Operator, namespace: &str, name: &str, rules: &str) -> String {
    let manifest = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {namespace}}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {name}, namespace: {namespace}}}\nrules: {rules}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}\n\
         subjects: [{{kind: ServiceAccount, name: {name}, namespace: {namespace}}}]\n"
    );
    kubectl(operator.control_plane, &["apply", "--server-side", "-f", "-"], &manifest);
    operator.control_plane.service_account_token(namespace, name).await.unwrap()
}

/// Lets a person put accounts into a group.
fn may_assign(operator: &Operator, namespace: &str, name: &str, group: &str) {
    let role = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: assign-{namespace}}}\n\
         rules: [{{apiGroups: [keyrota.dev], resources: [usergroups], resourceNames: [{group}], verbs: [assign]}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: assign-{namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: assign-{namespace}}}\n\
         subjects: [{{kind: ServiceAccount, name: {name}, namespace: {namespace}}}]\n",
    );
    kubectl(operator.control_plane, &["apply", "--server-side", "-f", "-"], &role);
}

/// How the API server calls such a person.
fn user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// May do everything with accounts, and read their Secrets.
const OWNER: &str = "[{apiGroups: [keyrota.dev], resources: [serviceaccounts], verbs: ['*']}, \
                      {apiGroups: [''], resources: [secrets], verbs: [get]}, {apiGroups: [''], resources: [events], verbs: [create]}]";

/// May look at accounts, and nothing else.
pub(crate) const VIEWER: &str = "[{apiGroups: [keyrota.dev], resources: [serviceaccounts], verbs: [get, list, watch]}]";
