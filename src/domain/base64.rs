//! base64 with the vectors of the processor, where it has some: a token is a few hundred bytes of it.

use std::sync::LazyLock;

use base64::engine::DecodePaddingMode;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::Simd;
use base64::engine::general_purpose::{GeneralPurposeConfig, NO_PAD};
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::{alphabet, engine::GeneralPurpose};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Fastest = Simd;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Fastest = GeneralPurpose;

/// base64url without padding, as tokens have it (RFC 7515 section 2).
pub static URL_SAFE: LazyLock<Fastest> = LazyLock::new(|| url_safe(NO_PAD));

/// Reads base64 with padding or without: half of all hand-made clients leave it away.
pub static TOLERANT: LazyLock<Fastest> =
    LazyLock::new(|| standard(GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent)));

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn url_safe(config: GeneralPurposeConfig) -> Fastest {
    Simd::url_safe(config)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn standard(config: GeneralPurposeConfig) -> Fastest {
    Simd::standard(config)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn url_safe(config: GeneralPurposeConfig) -> Fastest {
    GeneralPurpose::new(&alphabet::URL_SAFE, config)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn standard(config: GeneralPurposeConfig) -> Fastest {
    GeneralPurpose::new(&alphabet::STANDARD, config)
}
