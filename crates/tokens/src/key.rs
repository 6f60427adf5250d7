//! One public key of an issuer, from a JSON Web Key (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;

use crate::Algorithm;
use crate::algorithm::KeyType;

/// Shorter RSA keys can be broken (NIST SP 800-131A), longer ones take too long to verify with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key that signatures are verified with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VerificationKey {
    pub(crate) id: Option<String>,
    /// The only algorithm that the issuer uses it for, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point of P-256 or P-384, or the 32 bytes of Ed25519.
    Curve {
        key_type: KeyType,
        point: Vec<u8>,
    },
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<String>,
}

impl VerificationKey {
    /// Reads a JSON Web Key. The error says why it is not used.
    pub(crate) fn from_jwk(jwk: &Value) -> Result<Self, &'static str> {
        let jwk = Jwk::deserialize(jwk).map_err(|_| "a member is missing or has the wrong type")?;
        jwk.check_purpose()?;
        let algorithm = match &jwk.alg {
            Some(name) => Some(Algorithm::named(name).ok_or("its algorithm is not supported")?),
            None => None,
        };
        let material = match jwk.kty.as_str() {
            "RSA" => jwk.rsa()?,
            "EC" => jwk.elliptic_curve()?,
            "OKP" => jwk.ed25519()?,
            "oct" => return Err("it is a shared secret"),
            _ => return Err("its type is not supported"),
        };
        let key = Self {
            id: jwk.kid,
            algorithm,
            material,
        };
        match algorithm {
            Some(algorithm) if algorithm.key_type() != key.key_type() => {
                Err("its algorithm does not fit its type")
            }
            _ => Ok(key),
        }
    }

    fn key_type(&self) -> KeyType {
        match &self.material {
            Material::Rsa { .. } => KeyType::Rsa,
            Material::Curve { key_type, .. } => *key_type,
        }
    }

    /// Whether signatures of this algorithm may be verified with the key.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.key_type() == algorithm.key_type()
            && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether this is the key's signature of the message.
    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.material, algorithm.rsa(), algorithm.curve()) {
            (Material::Rsa { n, e }, Some(rsa), _) => {
                RsaPublicKeyComponents { n, e }.verify(rsa, message, signature)
            }
            (Material::Curve { point, .. }, _, Some(curve)) => {
                UnparsedPublicKey::new(curve, point).verify(message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}

impl Jwk {
    fn check_purpose(&self) -> Result<(), &'static str> {
        if self
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
        {
            return Err("it is not for signatures");
        }
        let operations = self.key_ops.as_deref();
        if operations.is_some_and(|names| !names.iter().any(|name| name == "verify")) {
            return Err("it is not for verifying");
        }
        // Whoever reads the key set could sign with it.
        if self.d.is_some() {
            return Err("its private part is published");
        }
        Ok(())
    }

    fn rsa(&self) -> Result<Material, &'static str> {
        let n = without_leading_zeros(decode(self.n.as_deref())?);
        let e = without_leading_zeros(decode(self.e.as_deref())?);
        let leading = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&(n.len() * 8 - leading)) {
            return Err("an RSA key must have 2048 to 8192 bits");
        }
        Ok(Material::Rsa { n, e })
    }

    fn elliptic_curve(&self) -> Result<Material, &'static str> {
        let (key_type, length) = match self.crv.as_deref() {
            Some("P-256") => (KeyType::P256, 32),
            Some("P-384") => (KeyType::P384, 48),
            _ => return Err("its curve is not supported"),
        };
        let (x, y) = (decode(self.x.as_deref())?, decode(self.y.as_deref())?);
        if x.len() != length || y.len() != length {
            return Err("its point has the wrong length");
        }
        // The uncompressed form of SEC 1, section 2.3.3.
        let point = [&[4], x.as_slice(), &y].concat();
        Ok(Material::Curve { key_type, point })
    }

    fn ed25519(&self) -> Result<Material, &'static str> {
        if self.crv.as_deref() != Some("Ed25519") {
            return Err("its curve is not supported");
        }
        let point = decode(self.x.as_deref())?;
        if point.len() != 32 {
            return Err("its point has the wrong length");
        }
        Ok(Material::Curve {
            key_type: KeyType::Ed25519,
            point,
        })
    }
}

fn decode(member: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let text = member.ok_or("a part of the key is missing")?;
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| "a part of the key is not base64url")
}

/// Some issuers write a number with the sign byte of ASN.1.
fn without_leading_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}
