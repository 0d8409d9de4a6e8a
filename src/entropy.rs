//! Randomness, as a parameter: the operating system's, or one that a test scripts.

use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;
use thiserror::Error;

/// The random source gave nothing; nothing weaker is ever used instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the operating system's random source failed: no credential can be made until it works again")]
pub struct EntropyError;

/// Where randomness comes from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// When the source fails.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// A source that all parts of a process share.
pub type SharedEntropy = Arc<dyn Entropy>;

/// The operating system's source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        SysRng.try_fill_bytes(bytes).map_err(|_| EntropyError)
    }
}

/// A source in the shape that [`crate::domain::mint`] and [`crate::domain::verifier`] take.
pub struct Draw<'a>(pub &'a dyn Entropy);

impl TryRng for Draw<'_> {
    type Error = EntropyError;

    fn try_next_u32(&mut self) -> Result<u32, EntropyError> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, EntropyError> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.0.fill(bytes)
    }
}
