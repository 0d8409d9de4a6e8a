//! An API server that the test plays itself, request by request.

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tower::service_fn;

type Call = (Request<Body>, oneshot::Sender<Response<Body>>);

/// Gets the requests of one client.
pub(crate) struct Server(mpsc::UnboundedReceiver<Call>);

impl Server {
    /// A client, and the server that answers it.
    pub(crate) fn start() -> (Client, Self) {
        let (calls, server) = mpsc::unbounded_channel::<Call>();
        let service = service_fn(move |request: Request<Body>| {
            let (answer, answered) = oneshot::channel();
            let sent = calls.send((request, answer));
            async move {
                sent.map_err(|_| std::io::Error::other("the test has ended"))?;
                answered.await.map_err(std::io::Error::other)
            }
        });
        (Client::new(service, "default"), Self(server))
    }

    /// The next request's path and query, answered with these lines.
    pub(crate) async fn answer(&mut self, status: u16, lines: &[Value]) -> String {
        self.decide(|_| (status, lines.to_vec())).await
    }

    /// The same, answered by its path and query.
    pub(crate) async fn decide(&mut self, decide: impl FnOnce(&str) -> (u16, Vec<Value>)) -> String {
        let (request, answer) = self.0.recv().await.unwrap();
        let asked = request.uri().to_string();
        let (status, lines) = decide(&asked);
        let text: Vec<String> = lines.iter().map(Value::to_string).collect();
        let response = Response::builder().status(status).body(Body::from(text.join("\n").into_bytes())).unwrap();
        answer.send(response).unwrap();
        asked
    }
}
