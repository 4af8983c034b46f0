//! The shop's certificate: a certificate authority made at start signs one leaf, and its key is forgotten at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What the shop is known as.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long the certificates hold. Nobody runs a demonstration longer.
const VALIDITY: Duration = Duration::days(365);

/// A certificate for the shop, and the authority that vouches for it.
#[derive(Debug)]
pub(super) struct Identity {
    /// The leaf.
    pub(super) certificate: CertificateDer<'static>,
    /// Its key.
    pub(super) key: PrivateKeyDer<'static>,
    /// The authority, PEM.
    pub(super) authority_pem: String,
}

/// Makes a new identity; no two starts share a key.
///
/// # Errors
/// [`rcgen::Error`] when the system has no randomness to give.
pub(super) fn make() -> Result<Identity, rcgen::Error> {
    let mut params = params(Vec::new(), "Runlet demo authority")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority_pem = params.self_signed(&authority_key)?.pem();
    let authority = Issuer::new(params, authority_key);

    let mut params = self::params(NAMES.map(str::to_owned).to_vec(), "localhost")?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?.der().clone();
    Ok(Identity { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(), authority_pem })
}

/// Writes the authorities a demonstration's supervisor trusts: the shop's, and those of `further`, into one file in
/// `state`.
///
/// # Errors
/// Whatever the system says about either file.
pub(crate) fn write_authority(state: &Path, authority_pem: &str, further: Option<&Path>) -> io::Result<PathBuf> {
    let mut pem = authority_pem.to_owned();
    if let Some(further) = further {
        pem.push('\n');
        pem.push_str(&fs::read_to_string(further)?);
    }
    let path = state.join("demo-ca.pem");
    fs::write(&path, pem)?;
    Ok(path)
}

fn params(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    // A day back, for clocks that disagree, such as those of a container and its host.
    params.not_before = now - Duration::DAY;
    params.not_after = now + VALIDITY;
    Ok(params)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn no_two_identities_share_a_key() {
        let (one, other) = (make().unwrap(), make().unwrap());
        assert_ne!(one.key.secret_der(), other.key.secret_der());
        assert!(one.authority_pem.starts_with("-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn further_authorities_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let further = state.path().join("own.pem");
        fs::write(&further, "own\n").unwrap();
        let path = write_authority(state.path(), "shop\n", Some(&further)).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "shop\n\nown\n");
    }
}
