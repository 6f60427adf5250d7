//! Who the subject of a client certificate is.

use rustls::pki_types::CertificateDer;
use tidegate_gateway::ClientCertificate;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The longest SPIFFE id (SPIFFE-ID, section 2.3), and so the longest name.
const MAX_NAME_BYTES: usize = 2048;

/// The name and the end of a certificate that was verified; `None` if it has no usable name.
pub(super) fn client_certificate(der: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let certificate = Certificate::from_der(der).ok()?;
    let expires_ms = not_after_ms(&certificate)?;
    Some(ClientCertificate::new(name(&certificate)?, expires_ms))
}

/// Until when a certificate is valid, in milliseconds since 1970.
pub(super) fn expires_ms(der: &CertificateDer<'_>) -> Option<i64> {
    not_after_ms(&Certificate::from_der(der).ok()?)
}

fn not_after_ms(certificate: &Certificate) -> Option<i64> {
    let not_after = certificate.tbs_certificate().validity().not_after;
    i64::try_from(not_after.to_unix_duration().as_millis()).ok()
}

/// The SPIFFE id, else the first DNS name, else the first e-mail address, else the common name.
fn name(certificate: &Certificate) -> Option<String> {
    let tbs = certificate.tbs_certificate();
    let alternative = tbs.get_extension::<SubjectAltName>().ok()?;
    let alternative = alternative.map_or_else(Vec::new, |(_, names)| names.0);
    let mut spiffe_ids = alternative.iter().filter_map(spiffe_id);
    if let Some(id) = spiffe_ids.next() {
        // Several are invalid (X.509-SVID, section 2): which is meant would be a guess.
        return spiffe_ids
            .next()
            .is_none()
            .then(|| id.to_owned())
            .filter(is_usable);
    }
    let dns = alternative.iter().find_map(dns_name);
    let other = dns.or_else(|| alternative.iter().find_map(email));
    let name = match other {
        Some(name) => name.to_owned(),
        None => {
            let common_name = tbs.subject().common_name().ok()??;
            common_name.value().into_owned()
        }
    };
    // Authorities do not check a common name as they check a SPIFFE id.
    Some(name)
        .filter(is_usable)
        .filter(|name| !name.contains("://"))
}

fn spiffe_id(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::UniformResourceIdentifier(uri) => {
            Some(uri.as_str()).filter(|uri| uri.starts_with("spiffe://"))
        }
        _ => None,
    }
}

fn dns_name(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str()),
        _ => None,
    }
}

fn email(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::Rfc822Name(address) => Some(address.as_str()),
        _ => None,
    }
}

#[allow(clippy::ptr_arg, reason = "a filter of Option<String>")]
fn is_usable(name: &String) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn text(text: &str) -> Ia5String {
        text.try_into().unwrap()
    }

    fn named(common_name: &str, names: Vec<SanType>) -> Option<String> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        params.not_after = date_time_ymd(2030, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let found = client_certificate(certificate.der())?;
        assert_eq!(found.expires_ms(), 1_893_456_000_000);
        Some(found.name().to_string())
    }

    #[test]
    fn the_most_specific_name_of_a_certificate_counts() {
        let spiffe = || SanType::URI(text("spiffe://cluster/ns/ml/sa/shop"));
        let uri = || SanType::URI(text("https://shop.example.com"));
        let dns = || SanType::DnsName(text("shop.example.com"));
        let email = || SanType::Rfc822Name(text("shop@example.com"));
        let name = |names| named("shop", names).unwrap();
        assert_eq!(
            name(vec![email(), dns(), uri(), spiffe()]),
            "spiffe://cluster/ns/ml/sa/shop"
        );
        assert_eq!(name(vec![email(), dns(), uri()]), "shop.example.com");
        assert_eq!(name(vec![email(), uri()]), "shop@example.com");
        assert_eq!(name(vec![uri()]), "shop");
        assert_eq!(name(vec![]), "shop");
    }

    #[test]
    fn a_name_that_could_be_taken_for_another_is_none() {
        let spiffe = |id: &str| SanType::URI(text(id));
        let two = vec![spiffe("spiffe://a/b"), spiffe("spiffe://a/c")];
        assert_eq!(named("shop", two), None);
        assert_eq!(named("spiffe://cluster/ns/ml/sa/shop", vec![]), None);
        assert_eq!(named("", vec![]), None);
        assert_eq!(named("a\nb", vec![]), None);
    }
}
