//! Servers on loopback for the tests of this crate: one that speaks HTTP as it should, with or without TLS, and one that
//! sends any bytes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use runlet_fetch::{Config, Fetcher};
use runlet_proto::call::{Body, BodyAs, FetchCall, FetchReply};
use runlet_proto::failure::{Failure, FailureClass};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) https: bool,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Plain HTTP on 127.0.0.1.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self::with(IpAddr::V4(Ipv4Addr::LOCALHOST), None, answer).await.unwrap()
    }

    /// HTTPS on 127.0.0.1.
    pub(crate) async fn start_tls(
        identity: &Identity,
        answer: impl Fn(&Seen) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self::with(IpAddr::V4(Ipv4Addr::LOCALHOST), Some(identity.acceptor()), answer).await.unwrap()
    }

    /// Anywhere; an error if there is no such address.
    pub(crate) async fn with(
        address: IpAddr,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Seen) -> Response<Bytes> + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let port = listener.local_addr()?.port();
        let https = tls.is_some();
        let (connections, seen) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<Seen>>>::default());
        let answer = Arc::new(answer);
        let accepting = tokio::spawn({
            let (connections, seen) = (Arc::clone(&connections), Arc::clone(&seen));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    let (seen, answer, tls) = (Arc::clone(&seen), Arc::clone(&answer), tls.clone());
                    tokio::spawn(async move {
                        let service =
                            service_fn(move |request| handle(request, Arc::clone(&seen), Arc::clone(&answer)));
                        let builder = auto::Builder::new(TokioExecutor::new());
                        match tls {
                            Some(tls) => {
                                let Ok(stream) = tls.accept(stream).await else { return };
                                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                            }
                            None => {
                                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                            }
                        }
                    });
                }
            }
        });
        Ok(Self { port, https, connections, seen, accepting })
    }

    /// A URL on this server, with the host as given.
    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("{}://{host}:{}{path}", if self.https { "https" } else { "http" }, self.port)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn handle(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<impl Fn(&Seen) -> Response<Bytes>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let one = Seen {
        method: parts.method,
        path: parts.uri.path_and_query().unwrap().to_string(),
        version: parts.version,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    };
    seen.lock().unwrap().push(one.clone());
    Ok(answer(&one).map(Full::new))
}

/// A server that reads a request's head and then does to the connection whatever it likes; it gets the number of the
/// connection, from zero.
pub(crate) struct Raw {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Raw {
    pub(crate) async fn start<F: Future<Output = ()> + Send + 'static>(
        talk: impl Fn(usize, TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(counter.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Self { port, connections, accepting }
    }

    /// Answers every request with the same bytes and closes.
    pub(crate) async fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |_, mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads up to the empty line; `false` if the client closed before.
pub(crate) async fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

/// Holds a connection until the client lets go of it.
pub(crate) async fn hold(mut stream: TcpStream) {
    let mut rest = [0; 64];
    while matches!(stream.read(&mut rest).await, Ok(1..)) {}
}

/// Authority and server certificate, or one that is both.
pub(crate) struct Identity {
    authority_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Identity {
    /// Signed by an authority of its own, for these names.
    pub(crate) fn for_names(names: &[&str]) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        Self { authority_pem, chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// Signed by itself; with `authority`, as `openssl req -x509` makes it.
    pub(crate) fn self_signed(name: &str, authority: bool) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = params.self_signed(&key).unwrap();
        Self { authority_pem: certificate.pem(), chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// Writes what a client has to trust.
    pub(crate) fn write_ca(&self, folder: &Path) -> PathBuf {
        let path = folder.join("ca.pem");
        std::fs::write(&path, &self.authority_pem).unwrap();
        path
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

pub(crate) fn fetcher() -> Fetcher {
    Fetcher::new(Config::default()).unwrap()
}

/// `inside.example` is a private host, `outside.example` one that counts as public.
pub(crate) fn fetcher_with_hosts() -> Fetcher {
    let hosts = BTreeMap::from([
        ("inside.example".to_owned(), vec!["127.0.0.1".parse().unwrap()]),
        ("outside.example".to_owned(), vec!["127.0.0.2".parse().unwrap()]),
        ("mixed.example".to_owned(), vec!["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()]),
    ]);
    Fetcher::new(Config { hosts, allow: vec!["127.0.0.2/32".parse().unwrap()], ..Config::default() }).unwrap()
}

/// A GET with roomy limits; `localhost` stands in the definition.
pub(crate) fn get(url: impl Into<String>) -> FetchCall {
    FetchCall {
        method: "GET".to_owned(),
        url: url.into(),
        literal_hosts: vec!["localhost".to_owned()],
        headers: Vec::new(),
        body: None,
        timeout_ms: 20_000,
        connect_timeout_ms: 10_000,
        redirects_max: 10,
        body_bytes_max: 10 << 20,
        tls_verify: true,
        ca_file: None,
        encoding: None,
        body_as: BodyAs::Auto,
    }
}

pub(crate) fn page(body: impl Into<Bytes>) -> Response<Bytes> {
    Response::builder().header("content-type", "text/html").body(body.into()).unwrap()
}

pub(crate) fn redirect(status: u16, location: &str) -> Response<Bytes> {
    Response::builder().status(status).header("location", location).body(Bytes::from_static(b"moved")).unwrap()
}

pub(crate) fn text(reply: &FetchReply) -> &str {
    match &reply.body {
        Body::Text { text, .. } => text,
        Body::Bytes(bytes) => panic!("{} bytes instead of text", bytes.len()),
    }
}

pub(crate) fn header<'a>(reply: &'a FetchReply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The failure must have this code, and its message must hold these parts.
#[track_caller]
pub(crate) fn fails(result: Result<FetchReply, Failure>, code: &str, parts: &[&str]) -> Failure {
    let failure = result.expect_err(code);
    assert_eq!(failure.code, code, "{failure}");
    for part in parts {
        assert!(failure.message.contains(part), "{part:?} is missing in: {failure}");
    }
    let workflow = matches!(code, "url" | "request" | "encoding" | "ca-file" | "address-refused");
    let class = match code {
        _ if workflow => FailureClass::Workflow,
        "timeout" => FailureClass::Timeout,
        _ => FailureClass::Upstream,
    };
    assert_eq!(failure.class, class, "{failure}");
    if workflow {
        assert!(!failure.retryable, "{failure}");
    }
    failure
}
