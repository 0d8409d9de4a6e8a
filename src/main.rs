//! The one binary; `keyrota crds` for now.
fn main() -> anyhow::Result<()> {
    for crd in keyrota::crds::all() {
        println!("---\n{}", keyrota::crds::yaml(&crd)?);
    }
    Ok(())
}
