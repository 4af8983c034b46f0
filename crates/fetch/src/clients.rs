//! One reqwest client, and so one connection pool, for each TLS setting and reach.
//!
//! Nearly every call needs one of two clients, which are made once and found without a lock. The others are few, and the
//! one that was used longest ago makes room; its connections close when the calls on them end.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::redirect::Policy;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

use crate::config::{Config, ConfigError};
use crate::connect::ConnectLayer;
use crate::limits;
use crate::names::{Names, Resolver};
use crate::rule::{AddressRule, Reach};
use crate::tls::{self, SystemRoots, Verifier};

/// A client and what it needs before its first handshake.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    /// `None` if every certificate is accepted.
    verifier: Option<Arc<Verifier>>,
}

impl Client {
    /// Reads the certificate stores away from the threads that serve calls.
    pub(crate) async fn prepare_tls(&self) {
        let Some(verifier) = self.verifier.as_ref().filter(|verifier| !verifier.is_ready()) else { return };
        let verifier = Arc::clone(verifier);
        // If the runtime shuts down under this, the handshake itself reads the stores, or fails with the runtime.
        let _ = tokio::task::spawn_blocking(move || verifier.prepare().is_ok()).await;
    }
}

/// What a call says about TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TlsSetting<'a> {
    pub(crate) verify: bool,
    pub(crate) ca_file: Option<&'a str>,
}

/// All clients of a fetcher.
#[derive(Debug)]
pub(crate) struct Clients {
    parts: Parts,
    defaults: ArcSwap<Defaults>,
    /// Whether connections have read bodies since the clients were made that grew their buffers.
    swollen: AtomicBool,
    /// The most recently used one last.
    others: Mutex<Vec<(Key, Client)>>,
}

/// The clients of calls that say nothing about TLS, one for each reach.
#[derive(Debug)]
struct Defaults {
    anywhere: Client,
    public: Client,
}

/// What tells the clients apart beside the default ones.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    reach: Reach,
    /// `None`: any certificate is accepted.
    trust: Option<CaFile>,
}

/// A file as it was when it was read: a changed file is a different setting.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CaFile {
    path: String,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// What every client is built from.
#[derive(Debug)]
struct Parts {
    names: Arc<Names>,
    rule: Arc<AddressRule>,
    system: Arc<SystemRoots>,
    provider: Arc<CryptoProvider>,
    /// Of the configuration's own file.
    more: Vec<CertificateDer<'static>>,
    headers: HeaderMap,
}

/// A `ca_file` of a call that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the ca_file {path} cannot be used: {cause}")]
pub(crate) struct CaFileError {
    path: String,
    cause: String,
}

impl Clients {
    pub(crate) fn new(config: Config, rule: Arc<AddressRule>) -> Result<Self, ConfigError> {
        let more = match &config.ca_file {
            Some(path) => tls::read_ca_file(path).map_err(|cause| ConfigError::CaFile { path: path.clone(), cause })?,
            None => Vec::new(),
        };
        let parts = Parts {
            names: Arc::new(Names::new(lower_case(config.hosts))),
            rule,
            system: Arc::default(),
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            more,
            headers: default_headers(&config.user_agent)?,
        };
        let verifier = Arc::new(parts.verifier(Vec::new()));
        let defaults = ArcSwap::from_pointee(parts.build_defaults(&verifier)?);
        Ok(Self { parts, defaults, swollen: AtomicBool::new(false), others: Mutex::default() })
    }

    /// The client for URLs that need no TLS, or only the default setting.
    pub(crate) fn default(&self, reach: Reach) -> Client {
        let defaults = self.defaults.load();
        match reach {
            Reach::Anywhere => defaults.anywhere.clone(),
            Reach::Public => defaults.public.clone(),
        }
    }

    /// To be told of the length of each body that was read.
    pub(crate) fn note_body(&self, bytes: usize) {
        if bytes >= limits::SWELLING_BODY_BYTES {
            self.swollen.store(true, Ordering::Relaxed);
        }
    }

    /// Closes idle connections whose buffers may have grown, by making the clients anew; a call under way keeps its own.
    /// For a time without calls: the next one has to connect again.
    pub(crate) fn close_swollen(&self) {
        if !self.swollen.swap(false, Ordering::Relaxed) {
            return;
        }
        self.others.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let verifier = self.defaults.load().anywhere.verifier.clone();
        // What was built once from the same parts is built again; and if not, the old clients are as good.
        if let Some(Ok(defaults)) = verifier.map(|verifier| self.parts.build_defaults(&verifier)) {
            self.defaults.store(Arc::new(defaults));
        }
    }

    /// The client for a TLS setting, made on its first use.
    pub(crate) async fn with(&self, reach: Reach, tls: TlsSetting<'_>) -> Result<Client, CaFileError> {
        let (key, file) = match (tls.verify, tls.ca_file) {
            (true, None) => return Ok(self.default(reach)),
            (false, _) => (Key { reach, trust: None }, None),
            (true, Some(path)) => {
                let file = CaFile::look(path).await?;
                (Key { reach, trust: Some(file) }, Some(path))
            }
        };
        if let Some(found) = self.found(&key) {
            return Ok(found);
        }
        let verifier = match file {
            Some(path) => Some(Arc::new(self.parts.verifier(read(path).await?))),
            None => None,
        };
        let client = self.parts.build(reach, verifier).map_err(|error| CaFileError {
            path: tls.ca_file.unwrap_or_default().to_owned(),
            cause: error.to_string(),
        })?;
        Ok(self.keep(key, client))
    }

    fn found(&self, key: &Key) -> Option<Client> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let at = others.iter().position(|(known, _)| known == key)?;
        // Moves it to the end, and keeps the order of the rest.
        others[at..].rotate_left(1);
        others.last().map(|(_, client)| client.clone())
    }

    /// Remembers a new client, unless another call was faster.
    fn keep(&self, key: Key, client: Client) -> Client {
        if let Some(found) = self.found(&key) {
            return found;
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        // An older state of the same file will not be asked for again.
        others.retain(|(known, _)| !known.is_older_state_of(&key));
        if others.len() >= limits::OTHER_CLIENTS_MAX {
            others.remove(0);
        }
        others.push((key, client.clone()));
        client
    }

    #[cfg(test)]
    fn others(&self) -> usize {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Key {
    fn is_older_state_of(&self, other: &Self) -> bool {
        match (&self.trust, &other.trust) {
            (Some(a), Some(b)) => self.reach == other.reach && a.path == b.path,
            (Some(_) | None, Some(_) | None) => false,
        }
    }
}

impl CaFile {
    /// Asks the file system on a thread that may block.
    async fn look(path: &str) -> Result<Self, CaFileError> {
        let of = |metadata: Metadata| Self {
            path: path.to_owned(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        let owned = path.to_owned();
        blocking(path, move || std::fs::metadata(owned).map_err(|error| error.to_string())).await.map(of)
    }
}

async fn read(path: &str) -> Result<Vec<CertificateDer<'static>>, CaFileError> {
    let owned = path.to_owned();
    blocking(path, move || tls::read_ca_file(Path::new(&owned))).await
}

/// Runs a short piece of file work elsewhere.
async fn blocking<T: Send + 'static>(
    path: &str,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, CaFileError> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()));
    done.map_err(|cause| CaFileError { path: path.to_owned(), cause })
}

impl Parts {
    /// A verifier that trusts the system, the configuration's file and these.
    fn verifier(&self, mut certificates: Vec<CertificateDer<'static>>) -> Verifier {
        certificates.extend_from_slice(&self.more);
        Verifier::new(Arc::clone(&self.system), certificates, Arc::clone(&self.provider))
    }

    fn build_defaults(&self, verifier: &Arc<Verifier>) -> Result<Defaults, ConfigError> {
        let anywhere = self.build(Reach::Anywhere, Some(Arc::clone(verifier)))?;
        let public = self.build(Reach::Public, Some(Arc::clone(verifier)))?;
        Ok(Defaults { anywhere, public })
    }

    fn build(&self, reach: Reach, verifier: Option<Arc<Verifier>>) -> Result<Client, ConfigError> {
        let failed = |error: &dyn std::error::Error| ConfigError::Client(error.to_string());
        let tls = tls::client_config(&self.provider, verifier.clone()).map_err(|error| failed(&error))?;
        let rule = match reach {
            Reach::Anywhere => None,
            Reach::Public => Some(Arc::clone(&self.rule)),
        };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Resolver::new(Arc::clone(&self.names), rule))
            .connector_layer(ConnectLayer)
            .default_headers(self.headers.clone())
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(limits::CONNECT_TIMEOUT_MAX + limits::CONNECT_TIMEOUT_LAG)
            .pool_max_idle_per_host(limits::IDLE_CONNECTIONS_PER_HOST_MAX)
            .pool_idle_timeout(limits::IDLE_CONNECTION_KEPT)
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Client { http, verifier })
    }
}

fn default_headers(user_agent: &str) -> Result<HeaderMap, ConfigError> {
    let user_agent = HeaderValue::from_str(user_agent).map_err(|_| ConfigError::UserAgent(user_agent.to_owned()))?;
    Ok(HeaderMap::from_iter([
        (USER_AGENT, user_agent),
        (ACCEPT_ENCODING, HeaderValue::from_static("gzip, br, zstd, deflate")),
    ]))
}

fn lower_case(hosts: BTreeMap<String, Vec<IpAddr>>) -> BTreeMap<String, Vec<IpAddr>> {
    hosts.into_iter().map(|(host, addresses)| (host.to_ascii_lowercase(), addresses)).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    fn clients() -> Clients {
        Clients::new(Config::default(), Arc::new(AddressRule::new(Vec::new()))).unwrap()
    }

    fn authority(path: &Path) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(path, certificate.pem()).unwrap();
    }

    #[tokio::test]
    async fn clients_for_other_settings_are_shared_and_bounded() {
        let clients = clients();
        let lax = TlsSetting { verify: false, ca_file: None };
        for _ in 0..3 {
            clients.with(Reach::Anywhere, lax).await.unwrap();
        }
        assert_eq!(clients.others(), 1);
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..limits::OTHER_CLIENTS_MAX + 3)
            .map(|i| folder.path().join(format!("{i}.pem")).to_str().unwrap().to_owned())
            .collect();
        for path in &paths {
            authority(Path::new(path));
            clients.with(Reach::Public, TlsSetting { verify: true, ca_file: Some(path) }).await.unwrap();
            // In use all the time, so it is not the one that makes room.
            clients.with(Reach::Anywhere, lax).await.unwrap();
        }
        assert_eq!(clients.others(), limits::OTHER_CLIENTS_MAX);
        assert!(clients.found(&Key { reach: Reach::Anywhere, trust: None }).is_some());
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_replaces_its_old_state() {
        let clients = clients();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let setting = TlsSetting { verify: true, ca_file: path.to_str() };
        authority(&path);
        clients.with(Reach::Public, setting).await.unwrap();
        std::fs::write(&path, "no certificate any more").unwrap();
        let error = clients.with(Reach::Public, setting).await.unwrap_err().to_string();
        assert!(error.contains("there is no certificate in it"), "{error}");
        std::fs::remove_file(&path).unwrap();
        authority(&path);
        clients.with(Reach::Public, setting).await.unwrap();
        assert_eq!(clients.others(), 1);
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let setting = TlsSetting { verify: true, ca_file: Some("/nowhere/ca.pem") };
        let error = clients().with(Reach::Public, setting).await.unwrap_err().to_string();
        assert!(error.starts_with("the ca_file /nowhere/ca.pem cannot be used: No such file"), "{error}");
    }
}
