//! A certificate authority of one test: signs a certificate for `localhost`, and writes its own as a PEM file for those
//! who are to trust it.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate authority and the one server it vouches for.
pub struct Authority {
    folder: TempDir,
    acceptor: TlsAcceptor,
}

impl Authority {
    /// Makes a new one.
    ///
    /// # Panics
    /// When no key can be made or no file written.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names, none invalid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a self-signed certificate");

        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let leaf_key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(names).expect("valid names");
        let leaf = leaf.signed_by(&leaf_key, &issuer).expect("a signed certificate");

        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .expect("key and certificate belong together");

        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("a file in a new folder");
        Self { folder, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// PEM file of the authority's certificate, as `RUNLET_CA_FILE` wants it. Lives as long as `self`.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
