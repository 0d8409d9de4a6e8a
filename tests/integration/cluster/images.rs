//! Images without a registry: an OCI layout in a tar archive, of one layer with a few files of this machine. Every
//! container runtime can load it (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>).

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::node::busybox;
use crate::common::tools::run;

/// The user that every container runs as.
const NOBODY: &str = "65532";
/// The operator, as the chart is told.
pub(super) const KEYROTA: (&str, &str) = ("keyrota.test/keyrota", "e2e");
/// What the workloads of the tests are made of: a shell and curl.
pub(super) const WORKLOAD: &str = "keyrota.test/workload:e2e";

/// The operator's image, as the Dockerfile would make it, and busybox to look around with.
pub(super) fn write_keyrota(archive: &Path, scratch: &Path) {
    let binary = scratch.join("keyrota");
    // Debug information is most of a development build.
    run(Command::new("strip").arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_keyrota")));
    let mut files = with_libraries(&binary, "keyrota");
    files.push((busybox(), "busybox".into()));
    files
        .push((written(scratch, "passwd", &format!("nonroot:x:{NOBODY}:{NOBODY}::/:/nowhere\n")), "etc/passwd".into()));
    let certificates = PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
    if certificates.exists() {
        files.push((certificates, "etc/ssl/certs/ca-certificates.crt".into()));
    }
    let (repository, tag) = KEYROTA;
    write(archive, &format!("{repository}:{tag}"), "/keyrota", &files);
}

/// The workloads' image.
pub(super) fn write_workload(archive: &Path) {
    let mut files = with_libraries(Path::new("/usr/bin/curl"), "usr/bin/curl");
    files.push((busybox(), "busybox".into()));
    write(archive, WORKLOAD, "/busybox", &files);
}

/// An image of these files (source, place in the image).
pub(super) fn write(archive: &Path, name: &str, entry_point: &str, files: &[(PathBuf, PathBuf)]) {
    let layer = layer(files);
    let config = json!({
        "architecture": architecture(), "os": "linux",
        "config": {"User": NOBODY, "Entrypoint": [entry_point], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({"io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();

    let mut tar = tar::Builder::new(File::create(archive).unwrap());
    put(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    put(&mut tar, "index.json", &index);
    for blob in [&layer, &config, &manifest] {
        put(&mut tar, &format!("blobs/{}", sha256(blob).replace(':', "/")), blob);
    }
    tar.finish().unwrap();
}

fn layer(files: &[(PathBuf, PathBuf)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut there = BTreeSet::new();
    for (source, target) in files {
        if there.insert(target) {
            // The file that a link leads to, as root's, and for everybody to read and run.
            let content = std::fs::read(source).unwrap();
            put(&mut tar, target.to_str().unwrap(), &content);
        }
    }
    tar.into_inner().unwrap()
}

fn put(tar: &mut tar::Builder<impl std::io::Write>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, name, content).unwrap();
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(blob), "size": blob.len()})
}

fn sha256(blob: &[u8]) -> String {
    let hex: String = digest(&SHA256, blob).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

/// A program and the libraries that the dynamic linker would load, each at its own place.
fn with_libraries(program: &Path, target: &str) -> Vec<(PathBuf, PathBuf)> {
    let mut files = vec![(program.to_owned(), PathBuf::from(target))];
    // `name => /path (address)`, and the linker itself without a name.
    for word in run(Command::new("ldd").arg(program)).split_whitespace().filter(|word| word.starts_with('/')) {
        files.push((PathBuf::from(word), PathBuf::from(word.trim_start_matches('/'))));
    }
    files
}

fn written(scratch: &Path, name: &str, content: &str) -> PathBuf {
    let file = scratch.join(name);
    std::fs::write(&file, content).unwrap();
    file
}
