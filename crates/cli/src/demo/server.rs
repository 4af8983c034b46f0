//! The shop's server: HTTP/1.1 over TLS on the loopback addresses.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};

use super::certificate;
use super::pages::Pages;
use crate::limits::{SHOP_CONNECTIONS_MAX, SHOP_HEAD_TIMEOUT};

/// Where the shop is. The founding document's example names this address.
pub(crate) const URL: &str = "https://localhost:4000";

const PORT: u16 = 4000;

/// Why there is no shop.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShopError {
    /// Somebody else has the port.
    #[error("the demo shop needs {address}, and another program listens there")]
    Taken {
        /// The address.
        address: SocketAddr,
    },
    /// The system said no.
    #[error("the demo shop cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// No certificate could be made.
    #[error("no certificate could be made for the demo shop: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS does not take the certificate.
    #[error("TLS does not take the demo shop's certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// A shop that has its port and its certificate, and is not yet served.
pub(crate) struct Shop {
    listeners: Vec<TcpListener>,
    acceptor: TlsAcceptor,
    authority_pem: String,
}

impl Shop {
    /// Takes port 4000 of both loopback addresses (of one, where the system has no IPv6).
    ///
    /// # Errors
    /// [`ShopError`], which names the address.
    pub(crate) async fn open() -> Result<Self, ShopError> {
        Self::open_on(PORT).await
    }

    async fn open_on(port: u16) -> Result<Self, ShopError> {
        let first = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        let mut listeners = vec![first];
        match listen(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
            Ok(listener) => listeners.push(listener),
            // `localhost` may mean ::1 first: a stranger there would be read instead of the shop.
            Err(error @ ShopError::Taken { .. }) => return Err(error),
            Err(ShopError::Listen { .. } | ShopError::Certificate(_) | ShopError::Tls(_)) => {}
        }
        let identity = certificate::make()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate], identity.key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { listeners, acceptor: TlsAcceptor::from(Arc::new(config)), authority_pem: identity.authority_pem })
    }

    /// The certificate authority a client has to trust, PEM.
    pub(crate) fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// Serves until the runtime ends.
    pub(crate) fn serve(self) {
        let pages = Arc::new(Pages::print());
        let seats = Arc::new(Semaphore::new(SHOP_CONNECTIONS_MAX));
        for listener in self.listeners {
            tokio::spawn(accept(listener, self.acceptor.clone(), Arc::clone(&pages), Arc::clone(&seats)));
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ShopError> {
    TcpListener::bind(address).await.map_err(|cause| {
        if cause.kind() == io::ErrorKind::AddrInUse {
            ShopError::Taken { address }
        } else {
            ShopError::Listen { address, cause }
        }
    })
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, pages: Arc<Pages>, seats: Arc<Semaphore>) {
    loop {
        // The seat is taken before the connection is: who finds none waits in the listener's queue.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, pages) = (acceptor.clone(), Arc::clone(&pages));
                tokio::spawn(async move {
                    serve(stream, acceptor, pages).await;
                    drop(seat);
                });
            }
            // Out of descriptors: the connection stays in the queue, and without a pause this would spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Serves one connection. Whatever goes wrong concerns its client alone.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, pages: Arc<Pages>) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(SHOP_HEAD_TIMEOUT, acceptor.accept(stream)).await else { return };
    let service = service_fn(move |request| {
        let response = answer(&pages, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SHOP_HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer<B>(pages: &Pages, request: &Request<B>) -> Response<Full<Bytes>> {
    let (status, page) = pages.find(request.uri().path());
    let mut response = Response::new(Full::new(page.body.clone()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    if *request.method() != Method::GET && *request.method() != Method::HEAD {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        *response.body_mut() = Full::default();
    }
    response
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_taken_port_is_named() {
        runtime().block_on(async {
            let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = holder.local_addr().unwrap();
            let error = Shop::open_on(address.port()).await.err().unwrap();
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        });
    }

    #[test]
    fn only_reading_is_allowed() {
        let pages = Pages::print();
        let post = Request::post("/").body(()).unwrap();
        assert_eq!(answer(&pages, &post).status(), StatusCode::METHOD_NOT_ALLOWED);
        let get = Request::get("/products.json?page=1").body(()).unwrap();
        let response = answer(&pages, &get);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }
}
