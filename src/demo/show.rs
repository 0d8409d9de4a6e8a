//! What the demo prints, and writes to the info file, once everything is ready.

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::token::Grant;
use super::{ACCOUNT, DemoArgs, NAMESPACE, SECRET};
use crate::api::ServiceAccount;
use crate::controlplane::ControlPlane;

/// Where everything is, for scripts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    kubeconfig: String,
    namespace: String,
    account: String,
    secret: String,
    token_url: String,
    ca_file: String,
    metrics_url: String,
    console_url: String,
    console_token: String,
}

/// Prints the account, the request, the token and how to go on.
pub fn everything(
    args: &DemoArgs,
    control_plane: &ControlPlane,
    account: &ServiceAccount,
    grant: &Grant,
    visitor: &SecretString,
    health_port: u16,
) -> anyhow::Result<()> {
    let ca_file = control_plane.data_dir().join("gateway-ca.crt");
    std::fs::write(&ca_file, &grant.ca_crt).with_context(|| format!("cannot write {}", ca_file.display()))?;
    let info = Info {
        kubeconfig: control_plane.kubeconfig().display().to_string(),
        namespace: NAMESPACE.into(),
        account: ACCOUNT.into(),
        secret: SECRET.into(),
        token_url: grant.token_url.clone(),
        ca_file: ca_file.display().to_string(),
        metrics_url: format!("http://127.0.0.1:{health_port}/metrics"),
        console_url: format!("https://localhost:{}", args.console_port),
        console_token: visitor.expose_secret().to_owned(),
    };
    print(args, control_plane, account, grant, &info);
    if let Some(path) = &args.info {
        write_whole(path, &serde_json::to_vec_pretty(&info)?)?;
    }
    Ok(())
}

fn print(args: &DemoArgs, control_plane: &ControlPlane, account: &ServiceAccount, grant: &Grant, info: &Info) {
    let status = account.status.clone().unwrap_or_default();
    let expiry = status.client_secret_expiry_time.map(|time| time.to_string()).unwrap_or_default();
    let next = status.next_rotation_time.map(|time| time.to_string()).unwrap_or_default();
    println!();
    println!("account     {NAMESPACE}/{ACCOUNT}");
    println!("client ID   {}", grant.client_id);
    println!("expires     {expiry}");
    println!("rotates     {next}");
    println!();
    println!("the manual's request:");
    println!("  curl --cacert {} -X POST '{}' \\", info.ca_file, grant.token_url);
    if args.once {
        println!("    -u '{}:<client secret>' -d grant_type=Client_Credentials", grant.client_id);
    } else {
        let secret = grant.client_secret.expose_secret();
        println!("    -u '{}:{secret}' -d grant_type=Client_Credentials", grant.client_id);
    }
    println!();
    println!("its token, decoded and verified:");
    println!("  {}", grant.decoded.0);
    println!("  {}", grant.decoded.1);
    println!();
    println!("console     {}", info.console_url);
    if args.once {
        println!("sign in     with the token that is shown without --once");
    } else {
        println!("sign in     {}", info.console_token);
    }
    println!();
    println!("metrics     {}", info.metrics_url);
    println!("kubeconfig  export KUBECONFIG={}", info.kubeconfig);
    println!("try         {} get keyrota -A", control_plane.kubectl().display());
    if !args.once {
        println!("\nruns until Ctrl-C");
    }
}

/// In place by rename: a script that polls for the file never reads half of it.
fn write_whole(path: &std::path::Path, content: &[u8]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write the info file {}", path.display());
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    std::io::Write::write_all(&mut file, content).with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}
