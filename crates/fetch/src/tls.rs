//! Whom TLS trusts: the system's authorities, those of a file, or anybody.
//!
//! reqwest would read the system's store whenever a client is built. Here the verifier reads it when the first certificate
//! has to be judged, so a supervisor that only ever fetches `http` never pays for it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::limits;

/// The system's authorities, read once for all verifiers.
#[derive(Debug, Default)]
pub(crate) struct SystemRoots(OnceLock<RootCertStore>);

impl SystemRoots {
    /// Reads the store, which takes some milliseconds of file system and parsing; unreadable entries are left out.
    fn get(&self) -> &RootCertStore {
        self.0.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        })
    }
}

/// Judges server certificates by the system's authorities and a few more.
#[derive(Debug)]
pub(crate) struct Verifier {
    system: Arc<SystemRoots>,
    more: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    inner: OnceLock<Result<Arc<WebPkiServerVerifier>, Error>>,
}

impl Verifier {
    pub(crate) fn new(
        system: Arc<SystemRoots>,
        more: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self { system, more, provider, inner: OnceLock::new() }
    }

    /// Whether the stores are read, so that a handshake will not wait for files.
    pub(crate) fn is_ready(&self) -> bool {
        self.inner.get().is_some()
    }

    /// Reads the stores; blocks on the file system the first time.
    pub(crate) fn prepare(&self) -> &Result<Arc<WebPkiServerVerifier>, Error> {
        self.inner.get_or_init(|| {
            let mut roots = self.system.get().clone();
            // They were parsed when their file was read; one that cannot be an authority may still be matched as a leaf.
            roots.add_parsable_certificates(self.more.iter().cloned());
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&self.provider))
                .build()
                .map_err(|error| Error::General(format!("no certificate authority is known: {error}")))
        })
    }

    /// Whether this very certificate was given as trusted. The self-signed ones that `openssl req -x509` makes claim to be
    /// authorities, which no server certificate may (RFC 5280, section 4.2.1.9); whoever names one as trusted means it.
    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        self.more.iter().any(|named| named.as_ref() == certificate.as_ref())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let inner = self.prepare().as_ref().map_err(Clone::clone)?;
        let verdict = inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // webpki judges the dates before the claim, so a certificate that comes here is within them.
            Err(Error::InvalidCertificate(CertificateError::Other(ref other)))
                if is_authority_as_server(other) && self.is_named(end_entity) =>
            {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether webpki refused a certificate because it claims to be an authority. It has no name for that in rustls.
pub(crate) fn is_authority_as_server(error: &rustls::OtherError) -> bool {
    error.0.to_string().contains("CaUsedAsEndEntity")
}

/// Accepts every certificate: `"tls": {"verify": false}`.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS side of a client; without a verifier it trusts anybody.
///
/// # Errors
/// If the provider lacks the protocol versions, which would be a fault of the build.
pub(crate) fn client_config(
    provider: &Arc<CryptoProvider>,
    verifier: Option<Arc<Verifier>>,
) -> Result<ClientConfig, Error> {
    let verifier: Arc<dyn ServerCertVerifier> = match verifier {
        Some(verifier) => verifier,
        None => Arc::new(Anybody(Arc::clone(provider))),
    };
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Reads the certificates of a PEM file; blocks on the file system. The error is a sentence without the path.
pub(crate) fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limits::CA_FILE_BYTES_MAX + 1).read_to_end(&mut pem))
        .map_err(|error| error.to_string())?;
    if pem.len() as u64 > limits::CA_FILE_BYTES_MAX {
        return Err(format!("it is larger than {} bytes", limits::CA_FILE_BYTES_MAX));
    }
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("it is not PEM: {error}"))?;
    if certificates.is_empty() {
        return Err("there is no certificate in it (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    for (i, certificate) in certificates.iter().enumerate() {
        ParsedCertificate::try_from(certificate)
            .map_err(|error| format!("certificate {} in it cannot be read: {error}", i + 1))?;
    }
    Ok(certificates)
}
