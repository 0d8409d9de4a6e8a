//! Argon2id: making and checking the hashes of client secrets.

use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, PasswordHasher, Version};
use rand::TryRng;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::credential::SecretHash;

/// What hashing a secret costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl HashCost {
    /// For generated secrets: their 190 bits leave nothing to guess, so stretching adds nothing.
    pub const GENERATED: Self = Self { memory_kib: 1024, passes: 1, lanes: 1 };
    /// For secrets that people chose: OWASP's Password Storage Cheat Sheet.
    pub const IMPORTED: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };
}

/// What a [`Workspace`] keeps, in blocks of 1 KiB: as much as generated secrets take.
const KEPT_BLOCKS: usize = HashCost::GENERATED.memory_kib as usize;

/// Why a secret could not be hashed.
#[derive(Debug, Error)]
pub enum HashError {
    /// The operating system gave no randomness for the salt.
    #[error("the random source failed")]
    Random,
    /// The cost is out of Argon2's bounds.
    #[error("argon2id refuses the cost m={} KiB, t={}, p={}: {reason}", .cost.memory_kib, .cost.passes, .cost.lanes)]
    Cost {
        /// The refused cost.
        cost: HashCost,
        /// Argon2's own words.
        reason: String,
    },
}

/// Hashes a client secret under a fresh salt.
///
/// # Errors
/// When the random source fails or Argon2 refuses the cost.
pub fn hash<R: TryRng>(secret: &SecretString, cost: HashCost, random: &mut R) -> Result<SecretHash, HashError> {
    let mut salt = [0; 16];
    random.try_fill_bytes(&mut salt).map_err(|_| HashError::Random)?;
    let refused = |reason: String| HashError::Cost { cost, reason };
    let params =
        Params::new(cost.memory_kib, cost.passes, cost.lanes, None).map_err(|error| refused(error.to_string()))?;
    let phc = Argon2::from(params)
        .hash_password_with_salt(secret.expose_secret().as_bytes(), &salt)
        .map_err(|error| refused(error.to_string()))?;
    Ok(SecretHash::from_phc(phc.to_string()))
}

/// Memory that Argon2 works in, for one verification after another. Allocated anew for each of ten thousand, the allocator
/// was left holding 100 MiB of holes.
#[derive(Default)]
pub struct Workspace(Vec<Block>);

impl Workspace {
    /// Whether `secret` is the one that was hashed, in time that does not depend on where they differ. A malformed hash
    /// matches nothing. Takes as long as the hash's own cost says: call it where blocking is allowed.
    #[must_use]
    pub fn matches(&mut self, secret: &[u8], hash: &SecretHash) -> bool {
        let matches = self.compare(secret, hash).unwrap_or(false);
        // The memory of an imported secret is not kept for the small ones.
        self.0.truncate(KEPT_BLOCKS);
        self.0.shrink_to_fit();
        matches
    }

    fn compare(&mut self, secret: &[u8], hash: &SecretHash) -> Option<bool> {
        let phc = PasswordHash::new(hash.as_phc()).ok()?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).ok()?;
        let version = phc.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
        let params = Params::try_from(&phc).ok()?;
        let (salt, expected) = (phc.salt.as_ref()?, phc.hash.as_ref()?);
        let blocks = params.block_count();
        if self.0.len() < blocks {
            self.0.resize(blocks, Block::new());
        }
        let mut computed = vec![0; expected.len()];
        Argon2::new(algorithm, version, params)
            .hash_password_into_with_memory(secret, salt, &mut computed, self.0.get_mut(..blocks)?)
            .ok()?;
        Some(computed.ct_eq(expected.as_ref()).into())
    }
}

/// As [`Workspace::matches`], for a single one.
#[must_use]
pub fn matches(secret: &[u8], hash: &SecretHash) -> bool {
    Workspace::default().matches(secret, hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    fn hashed(secret: &str, cost: HashCost) -> SecretHash {
        hash(&secret.into(), cost, &mut StdRng::seed_from_u64(3)).unwrap()
    }

    #[test]
    fn a_hash_matches_its_secret_and_no_other_one() {
        let hash = hashed("55AU#NO8%*ZhgvNfaYUmtvX0dkEhodbi", HashCost::GENERATED);
        assert!(matches(b"55AU#NO8%*ZhgvNfaYUmtvX0dkEhodbi", &hash));
        assert!(!matches(b"55AU#NO8%*ZhgvNfaYUmtvX0dkEhodb", &hash));
        assert!(!matches(b"", &hash));
    }

    #[test]
    fn the_hash_says_its_own_cost() {
        assert!(hashed("x", HashCost::GENERATED).as_phc().starts_with("$argon2id$v=19$m=1024,t=1,p=1$"));
        assert!(hashed("x", HashCost::IMPORTED).as_phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    }

    #[test]
    fn secrets_longer_than_72_bytes_are_not_cut() {
        let hash = hashed(&"a".repeat(100), HashCost::GENERATED);
        assert!(!matches("a".repeat(99).as_bytes(), &hash));
    }

    #[test]
    fn a_malformed_hash_matches_nothing() {
        for phc in ["", "$argon2id$", "x", "$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHQ"] {
            assert!(!matches(b"x", &SecretHash::from_phc(phc.into())), "{phc}");
        }
    }

    #[test]
    fn a_workspace_judges_each_secret_alone_and_keeps_little() {
        let (small, large) = (hashed("small", HashCost::GENERATED), hashed("large", HashCost::IMPORTED));
        let mut workspace = Workspace::default();
        for _ in 0..2 {
            assert!(workspace.matches(b"large", &large) && !workspace.matches(b"small", &large));
            assert!(workspace.matches(b"small", &small) && !workspace.matches(b"large", &small));
            assert_eq!(workspace.0.capacity(), KEPT_BLOCKS);
        }
    }
}
