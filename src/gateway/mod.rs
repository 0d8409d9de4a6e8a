//! stub, replaced by the merge
use clap::Args;
/// stub
#[derive(Args, Clone, Debug)]
pub struct GatewayArgs {
    #[arg(long)]
    kubeconfig: Option<String>,
    #[arg(long)]
    listen: Option<String>,
    #[arg(long)]
    health_listen: Option<String>,
}
/// stub
pub async fn run(
    _a: GatewayArgs,
    _c: crate::clock::SharedClock,
    s: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    s.await;
    Ok(())
}
