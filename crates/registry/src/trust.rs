//! Whether a version is what its owner signed.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::digest::{from_hex, to_hex};
use crate::keys::{KeyId, SigningKeys};
use crate::{Digest, Error, ErrorCode, Result};

/// Whether versions must be signed by a trusted key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequireSignature {
    /// Signatures are not checked.
    Never,
    /// A version without a trusted signature is used, with a warning; a wrong signature is refused.
    #[default]
    Warn,
    /// Only versions with a trusted signature are used.
    Always,
}

/// The result of a check of signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A trusted key signed it.
    Signed(KeyId),
    /// No trusted key signed it, but the policy allows that; the text says why.
    Unsigned(String),
    /// The policy does not ask for a check.
    Unchecked,
}

/// The signed statement: the content of a numbered version of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) model: &'a str,
    pub(crate) number: i64,
    pub(crate) digest: Digest,
}

impl Statement<'_> {
    /// The signed bytes. Names of models have no line breaks, so that they can be read in one way
    /// only.
    fn bytes(&self) -> Vec<u8> {
        format!(
            "tidegate version 1\n{}\n{}\n{}\n",
            self.model, self.number, self.digest
        )
        .into_bytes()
    }

    pub(crate) fn sign(&self, key: &SigningKey) -> String {
        to_hex(&key.sign(&self.bytes()).to_bytes())
    }

    /// Strict, as in RFC 8032 and beyond: weak public keys, with which one signature fits many
    /// statements, are refused.
    fn is_signed(&self, key: &VerifyingKey, signature: &Signature) -> bool {
        key.verify_strict(&self.bytes(), signature).is_ok()
    }

    fn name(&self) -> String {
        format!("{}:{}", self.model, self.number)
    }
}

/// Checks the signatures of a version against the keys and the policy.
///
/// `others` are the numbers of the model's other versions: a signature that is valid for one of
/// them means that its content has been put in the place of this one.
pub(crate) fn check(
    statement: Statement<'_>,
    signatures: &[tidegate_store::Signature],
    keys: &SigningKeys,
    policy: RequireSignature,
    others: impl Iterator<Item = i64>,
) -> Result<Verdict> {
    if policy == RequireSignature::Never {
        return Ok(Verdict::Unchecked);
    }
    let name = statement.name();
    let (mut revoked, mut unknown) = (None, None);
    let others: Vec<i64> = others
        .filter(|number| *number != statement.number)
        .collect();
    for signature in signatures {
        let Ok(id) = signature.key_id.parse::<KeyId>() else {
            // Names no key that could be trusted, so it counts as no signature.
            continue;
        };
        if keys.is_revoked(&id) {
            // Not the end: a version may be signed again by another key after a revocation.
            revoked = Some(id);
            continue;
        }
        let Some(key) = keys.trusted(&id) else {
            unknown = Some(id);
            continue;
        };
        return verify(&statement, &signature.signature, id, key, &others);
    }
    let (code, problem) = match (revoked, unknown) {
        (Some(id), _) => {
            return Err(Error::new(
                ErrorCode::RevokedKey,
                format!("{name} is signed by key {id}, which is revoked"),
            ));
        }
        (None, Some(id)) => (
            ErrorCode::UntrustedKey,
            format!("{name} is signed by key {id}, which is not trusted here"),
        ),
        (None, None) => (ErrorCode::Unsigned, format!("{name} is not signed")),
    };
    if policy == RequireSignature::Always {
        Err(Error::new(code, problem))
    } else {
        Ok(Verdict::Unsigned(problem))
    }
}

/// Checks a signature of a trusted key.
fn verify(
    statement: &Statement<'_>,
    signature: &str,
    id: KeyId,
    key: &VerifyingKey,
    others: &[i64],
) -> Result<Verdict> {
    let bytes = from_hex(signature).and_then(|bytes| Signature::from_slice(&bytes).ok());
    let Some(bytes) = bytes else {
        return Err(bad_signature(statement, &id));
    };
    if statement.is_signed(key, &bytes) {
        return Ok(Verdict::Signed(id));
    }
    // Right for another number: the content of that version was put in the place of this one.
    let signed_as = others.iter().copied().find(|number| {
        let claim = Statement {
            number: *number,
            ..*statement
        };
        claim.is_signed(key, &bytes)
    });
    let Some(number) = signed_as else {
        return Err(bad_signature(statement, &id));
    };
    let problem = format!(
        "{} shows the content that key {id} signed as {}:{number}",
        statement.name(),
        statement.model
    );
    Err(Error::new(ErrorCode::ManifestDowngraded, problem))
}

fn bad_signature(statement: &Statement<'_>, id: &KeyId) -> Error {
    let problem = format!(
        "{}: the signature of key {id} does not belong to {}",
        statement.name(),
        statement.digest
    );
    Error::new(ErrorCode::BadSignature, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        keys: SigningKeys,
        id: KeyId,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let id = SigningKeys::generate(folder.path()).unwrap();
        Fixture {
            keys: SigningKeys::open(folder.path()).unwrap(),
            folder,
            id,
        }
    }

    fn statement(number: i64, content: &[u8]) -> Statement<'static> {
        Statement {
            model: "fraud",
            number,
            digest: Digest::of(content),
        }
    }

    fn signed(fixture: &Fixture, statement: Statement<'_>) -> tidegate_store::Signature {
        let (id, key) = fixture.keys.signer().unwrap();
        tidegate_store::Signature {
            key_id: id.to_string(),
            signature: statement.sign(key),
            signed_ms: 0,
        }
    }

    fn check_as(
        fixture: &Fixture,
        statement: Statement<'_>,
        signature: &tidegate_store::Signature,
        policy: RequireSignature,
    ) -> Result<Verdict, ErrorCode> {
        let signatures = std::slice::from_ref(signature);
        check(statement, signatures, &fixture.keys, policy, 1..=9).map_err(|error| error.code)
    }

    #[test]
    fn each_failure_has_its_code() {
        let fixture = fixture();
        let seven = statement(7, b"seven");
        let right = signed(&fixture, seven);
        let always = |statement, signature: &_| {
            check_as(&fixture, statement, signature, RequireSignature::Always)
        };
        assert_eq!(
            always(seven, &right),
            Ok(Verdict::Signed(fixture.id.clone()))
        );
        assert_eq!(
            always(statement(7, b"other"), &right),
            Err(ErrorCode::BadSignature)
        );
        assert_eq!(
            always(statement(8, b"seven"), &right),
            Err(ErrorCode::ManifestDowngraded)
        );
        let mut flipped = right.clone();
        flipped.signature.replace_range(
            0..1,
            if flipped.signature.starts_with('0') {
                "1"
            } else {
                "0"
            },
        );
        assert_eq!(always(seven, &flipped), Err(ErrorCode::BadSignature));
        let other_model = Statement {
            model: "other",
            ..seven
        };
        assert_eq!(always(other_model, &right), Err(ErrorCode::BadSignature));
        let unsigned =
            check(seven, &[], &fixture.keys, RequireSignature::Always, 1..=9).unwrap_err();
        assert_eq!(
            (unsigned.code, unsigned.message.as_str()),
            (ErrorCode::Unsigned, "fraud:7 is not signed")
        );
    }

    #[test]
    fn an_unknown_key_passes_with_a_warning_and_a_wrong_signature_does_not() {
        let (here, there) = (fixture(), fixture());
        let seven = statement(7, b"seven");
        let foreign = signed(&there, seven);
        assert_eq!(
            check_as(&here, seven, &foreign, RequireSignature::Always),
            Err(ErrorCode::UntrustedKey)
        );
        assert!(matches!(
            check_as(&here, seven, &foreign, RequireSignature::Warn),
            Ok(Verdict::Unsigned(_))
        ));
        let wrong = signed(&here, statement(7, b"other"));
        assert_eq!(
            check_as(&here, seven, &wrong, RequireSignature::Warn),
            Err(ErrorCode::BadSignature)
        );
        assert_eq!(
            check_as(&here, seven, &wrong, RequireSignature::Never),
            Ok(Verdict::Unchecked)
        );
    }

    #[test]
    fn a_second_key_makes_up_for_a_revoked_one() {
        let mut fixture = fixture();
        let seven = statement(7, b"seven");
        let old = signed(&fixture, seven);
        SigningKeys::generate(fixture.folder.path()).unwrap();
        SigningKeys::revoke(fixture.folder.path(), &fixture.id).unwrap();
        fixture.keys = SigningKeys::open(fixture.folder.path()).unwrap();
        assert_eq!(
            check_as(&fixture, seven, &old, RequireSignature::Warn),
            Err(ErrorCode::RevokedKey)
        );
        let both = [old, signed(&fixture, seven)];
        let verdict = check(seven, &both, &fixture.keys, RequireSignature::Always, 1..=9).unwrap();
        assert_eq!(
            verdict,
            Verdict::Signed(fixture.keys.signer().unwrap().0.clone())
        );
    }
}
