//! Verification of JSON Web Tokens (RFC 7519) from issuers that speak OpenID Connect Discovery.
//!
//! In comes the text of a bearer token, out goes who it speaks for, or why it is refused. The
//! public keys of an issuer are fetched by a task in the background, which follows rotations and
//! keeps the last good set while the issuer is down. A token that was verified before costs one
//! SHA-256 and one lookup.
//!
//! This crate knows nothing of requests, roles or tenants of the server, and depends on no other
//! crate of the workspace.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tidegate_tokens::{JwtIssuerConfig, JwtVerifier};
//!
//! let verifier = JwtVerifier::start(&[JwtIssuerConfig {
//!     issuer: "https://login.example.com".to_owned(),
//!     audiences: vec!["https://models.example.com".to_owned()],
//!     ..JwtIssuerConfig::default()
//! }])?;
//! let token = match verifier.verify("eyJhbGciOi…") {
//!     // The key may be newer than our key set.
//!     Err(error) if error.awaits_keys() => verifier.verify_with_new_keys("eyJhbGciOi…").await?,
//!     other => other?,
//! };
//! println!("{} of {:?}", token.subject, token.tenant);
//! # Ok(())
//! # }
//! ```

mod algorithm;
mod asked_keys;
mod claims;
mod compact;
mod config;
mod error;
mod fetch;
mod issuer;
mod key;
mod key_set;
mod login;
mod refresh;
mod strict_json;
#[cfg(test)]
mod testing;
mod token_cache;
mod verifier;

pub use algorithm::Algorithm;
pub use claims::VerifiedToken;
pub use compact::{UnverifiedToken, unverified};
pub use config::{JwtConfigError, JwtIssuerConfig};
pub use error::TokenError;
pub use issuer::KeyStatus;
pub use login::{
    LoginAnswer, LoginError, LoginSeal, LoginStart, OidcLogin, OidcLoginConfig, PendingLogin,
};
pub use verifier::JwtVerifier;
