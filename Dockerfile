# The image of Keyrota: all roles in one binary, no shell, no package manager.
#
#   docker build -t registry.example.com/keyrota:0.1.0 .
#
# Both stages are of the same Debian release, so that the binary finds the libc that it was linked with.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src

# aws-lc, the one dependency that is not all Rust.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ make \
    && rm -rf /var/lib/apt/lists/*

COPY Cargo.toml Cargo.lock rust-toolchain.toml askama.toml ./
COPY src ./src
COPY crds/samples ./crds/samples
# Cargo wants to see every target that Cargo.toml names. The toolchain of rust-toolchain.toml is the image's.
RUN mkdir -p tests/integration benches \
    && touch tests/integration/main.rs benches/console_pages.rs benches/gateway_rate.rs benches/gateway_under_load.rs benches/keycloak_peer.rs \
    && RUSTUP_TOOLCHAIN=1.95.0 cargo build --profile dist --locked --bin keyrota \
    && strip target/dist/keyrota

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build --chown=0:0 --chmod=0555 /src/target/dist/keyrota /keyrota
# By number, so that Kubernetes can tell that it is not root. Nothing is ever written: run it with a read-only root.
USER 65532:65532
# The ports of the chart: gateway, console, and the health of gateway, controller and console.
EXPOSE 8443 8444 8081 8082 8083
ENTRYPOINT ["/keyrota"]
