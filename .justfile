# `just` lists these; each is one ordinary command, so nobody needs just.

_default:
    @just --list --unsorted

# What CI runs: format, clippy, documentation, bans and licences, every test; or only the STEPS that are named
check *STEPS:
    .ci/run {{ STEPS }}

# A whole Keyrota on this machine, until Ctrl-C
demo *ARGS:
    cargo run --release -- demo {{ ARGS }}

# Every test, or those whose name holds NAME; the control plane they need is built once (6 minutes) and kept
test *NAME:
    cargo test --locked {{ NAME }}

# The chart in a whole cluster: one node on this machine (needs root), or the one of KEYROTA_E2E_KUBECONFIG, see docs/cluster-suite.md
cluster:
    cargo test --locked --test integration cluster:: -- --nocapture

# Rewrite crds/ and whatever else is generated, then show what changed
update:
    UPDATE=1 cargo test --locked generated
    git status --short

# Ten thousand cases for each property, where a normal run tries 256
properties:
    PROPTEST_CASES=10000 cargo test --locked --lib
    PROPTEST_CASES=10000 cargo test --locked --test integration properties

# A thousand regenerations under constant traffic, where a normal run makes a hundred
regenerations:
    KEYROTA_REGENERATIONS=1000 cargo test --locked --test integration regenerations -- --nocapture

# A year of fifty accounts, from deadline to deadline: about five minutes, where a normal run has sixty days of twelve
year:
    cargo test --locked --test integration a_year_of -- --ignored --nocapture

# Ten thousand requests made up from the OpenAPI document, where a normal run makes a thousand
contract:
    KEYROTA_CONTRACT_CASES=10000 cargo test --locked --test integration checked_by_others -- --nocapture

# Keycloak as a foreign issuer: downloads it once (170 MB)
keycloak:
    cargo test --locked --test integration keycloak -- --ignored --nocapture

# Spans to the real OpenTelemetry collector: builds it once
otlp:
    cargo test --locked --test integration the_real_collector -- --ignored --nocapture

# Fifty thousand refusals of each kind at the standard endpoint, where a normal run takes three hundred: eight minutes
timing:
    KEYROTA_TIMING_SAMPLES=50000 KEYROTA_TIMING_CONNECTIONS=400 cargo test --locked --test integration timing -- --nocapture

# The pictures of README.md and docs/console.md, made by the browser suite's own console and accounts
screenshots:
    cargo test --locked --test integration the_pictures_of_the_documentation -- --ignored --nocapture

# The oldest Kubernetes there is support for, 1.33: main job, admission, policies and a release of the chart
floor *TESTS:
    .ci/floor {{ TESTS }}

# Everything that is measured, beside its floor or a peer
bench *ARGS:
    cargo bench {{ ARGS }}

# Bans, licences and sources of every dependency, by cargo-deny
deny:
    .ci/run deny
