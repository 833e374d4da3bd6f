//! Why a token was refused, in words that are safe to show and to log: nothing of the token is in them.

use crate::{
    ClaimError,
    limits::{JSON_DEPTH_MAX, TOKEN_BYTES_MAX},
};

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not three parts in base64url, or no JSON objects in the first two.
    #[error("the token is malformed")]
    Malformed,
    /// Arrays and objects within each other.
    #[error("the token is nested deeper than {JSON_DEPTH_MAX}")]
    TooDeep,
    /// `none`, or any other that the hub does not know.
    #[error("the token's algorithm is not supported")]
    Algorithm,
    /// The header's `crit` demands what the hub does not know.
    #[error("the token's header demands an extension that is not supported")]
    Critical,
    /// No key has this id, or none is for this algorithm.
    #[error("the token's key is not known")]
    UnknownKey,
    /// No key has been read from the JWKS URL, so nobody can tell. An error of the hub and not of the token.
    #[error("the keys for tokens are not available")]
    KeysUnavailable,
    /// Signed by somebody else, or changed since.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim that is not what it must be.
    #[error("the token's claim {0}")]
    Claim(#[from] ClaimError),
    /// A token that would be good for ever.
    #[error("the token has no claim 'exp'")]
    NoExpiry,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is absent, or not one of those that are configured.
    #[error("the token is of another issuer")]
    Issuer,
    /// `aud` is not one of those that are configured.
    #[error("the token is for another audience")]
    Audience,
}

impl Refused {
    /// One word for counting.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong | Self::Malformed | Self::TooDeep | Self::Critical => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::KeysUnavailable => "keys_unavailable",
            Self::Signature => "signature",
            Self::Claim(_) | Self::NoExpiry => "claims",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
        }
    }
}
