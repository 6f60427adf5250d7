//! Key pairs that are made when they are asked for.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

/// A key pair of an issuer.
pub(crate) struct TestKey {
    pub(crate) id: &'static str,
    algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl TestKey {
    /// An RSA key for `RS256` or `PS256`. `ring` makes none, so OpenSSL does.
    pub(crate) fn rsa(id: &'static str, algorithm: &'static str) -> Self {
        let arguments = ["genpkey", "-algorithm", "RSA", "-quiet"];
        let made = Command::new("openssl").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        let pem = String::from_utf8(made.stdout).unwrap();
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        let pkcs8 = STANDARD.decode(lines.collect::<String>()).unwrap();
        let pair = Pair::Rsa(RsaKeyPair::from_pkcs8(&pkcs8).unwrap());
        Self {
            id,
            algorithm,
            pair,
        }
    }

    /// A key on P-256.
    pub(crate) fn p256(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        Self {
            id,
            algorithm: "ES256",
            pair: Pair::P256(pair),
        }
    }

    /// A key for Ed25519.
    pub(crate) fn ed25519(id: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self {
            id,
            algorithm: "EdDSA",
            pair: Pair::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()),
        }
    }

    /// The public key as the issuer publishes it, with `alg` and `use`.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": encode(&public.n), "e": encode(&public.e) })
            }
            Pair::P256(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) })
            }
        };
        jwk["kid"] = self.id.into();
        jwk["alg"] = self.algorithm.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The header of this key's tokens.
    pub(crate) fn header(&self) -> Value {
        json!({ "typ": "JWT", "alg": self.algorithm, "kid": self.id })
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with_header(&self.header(), claims)
    }

    /// A token with this header, signed with the key's own algorithm all the same.
    pub(crate) fn token_with_header(&self, header: &Value, claims: &Value) -> String {
        self.sign(&format!("{}.{}", encode_json(header), encode_json(claims)))
    }

    /// Adds the signature to the first two parts of a token.
    pub(crate) fn sign(&self, signed: &str) -> String {
        let random = SystemRandom::new();
        let message = signed.as_bytes();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding: &dyn ring::signature::RsaEncoding = match self.algorithm {
                    "PS256" => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                pair.sign(padding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        };
        format!("{signed}.{}", encode(&signature))
    }

    /// The public key in three forms that an HMAC's secret was made of in attacks: PKCS #1, SPKI in
    /// DER, SPKI in PEM.
    pub(crate) fn as_secrets(&self) -> Vec<Vec<u8>> {
        let Pair::Rsa(pair) = &self.pair else {
            panic!("only RSA keys");
        };
        let pkcs1 = pair.public_key().as_ref().to_vec();
        // SubjectPublicKeyInfo (RFC 5280) of rsaEncryption with a key of 2048 bits.
        let prefix = [
            0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
            0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00,
        ];
        let spki = [prefix.as_slice(), &pkcs1].concat();
        let text = STANDARD.encode(&spki);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        let lines = lines.join("\n");
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n");
        vec![pkcs1, spki, pem.into_bytes()]
    }
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn encode_json(value: &Value) -> String {
    encode(value.to_string().as_bytes())
}
