//! The service itself: one call from its check to its reply, through every redirect.

use std::sync::Arc;

use encoding_rs::Encoding;
use http::Method;
use http::header::{self, HeaderMap};
use runlet_proto::call::{FetchCall, FetchReply};
use runlet_proto::failure::Failure;
use tokio::time::Instant;

use crate::budget::{Budget, Held};
use crate::cause::{self, Place};
use crate::clients::{Client, Clients, TlsSetting};
use crate::config::{Config, ConfigError};
use crate::exchange::{self, Times};
use crate::redirect;
use crate::request::Outgoing;
use crate::rule::{AddressRule, Reach};
use crate::text;

/// Fetches. Clones share connections and limits.
#[derive(Debug, Clone)]
pub struct Fetcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rule: Arc<AddressRule>,
    clients: Clients,
    budget: Budget,
}

impl Fetcher {
    /// Makes a fetcher. It opens nothing and starts nothing yet; the first fetch must run on a tokio runtime with I/O and
    /// time enabled.
    ///
    /// # Errors
    /// If the configuration's `ca_file` or user agent cannot be used.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let budget = Budget::new(config.bodies_bytes_max);
        let rule = Arc::new(AddressRule::new(config.allow.clone()));
        let clients = Clients::new(config, Arc::clone(&rule))?;
        Ok(Self { shared: Arc::new(Shared { rule, clients, budget }) })
    }

    /// Carries a call out. Dropping the future abandons it, connection included.
    ///
    /// # Errors
    /// A failure that names method, URL, cause and way out; any status is a reply, not a failure.
    pub async fn fetch(&self, call: FetchCall) -> Result<FetchReply, Failure> {
        self.fetch_and_hold(call).await.map(|(reply, _)| reply)
    }

    /// The same for a caller that may let the body wait: it keeps its part of the budget for bodies until the second value
    /// is dropped, and further bodies are fetched no faster.
    ///
    /// # Errors
    /// As of [`Self::fetch`].
    pub async fn fetch_and_hold(&self, mut call: FetchCall) -> Result<(FetchReply, Held), Failure> {
        let encoding = encoding(&call)?;
        let times = Times::new(call.timeout_ms, call.connect_timeout_ms);
        let mut request = Outgoing::new(&mut call)?;
        let mut passed: Vec<(Method, String)> = Vec::new();
        let mut first_port = None;
        let started = Instant::now();
        loop {
            let place = Place { request: &request, redirected_from: passed.first().map(|(_, url)| url.as_str()) };
            let port = *first_port.get_or_insert_with(|| place.request.url.port_or_known_default());
            let literal = match redirect::stays_literal(&place.request.url, port) {
                true => &*call.literal_hosts,
                false => &[],
            };
            let client = self.client(&place, &call, literal, times).await?;
            let response = exchange::send(&client, &place, times).await?;
            let status = response.status();
            let location = redirect::location(status, response.headers()).filter(|_| call.redirects_max > 0);
            if let Some(location) = location {
                let next = redirect::follow(&request, status, location)
                    .map_err(|why| place.lasting("redirect", format!("answered {status}, but {why}")))?;
                check_chain(&passed, &next, &place, call.redirects_max)?;
                drop(response);
                passed.push((request.method, request.url.into()));
                request = next;
                continue;
            }
            let mut share = self.shared.budget.share();
            let received = exchange::receive(response, &place, times, (call.body_bytes_max, call.body_as), &mut share);
            let (headers, bytes) = received.await?;
            self.shared.clients.note_body(bytes.len());
            let elapsed = started.elapsed();
            let content_type = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
            let body = text::deliver(bytes, content_type.as_deref(), &request.url, encoding, call.body_as);
            let reply = FetchReply {
                status: status.as_u16(),
                headers: fields(&headers),
                url: request.url.into(),
                body,
                redirects: passed.into_iter().map(|(_, url)| url).collect(),
                elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            };
            return Ok((reply, share.into_held()));
        }
    }

    /// Closes the idle connections to other servers if large bodies may have made their buffers large: each would keep up to
    /// 400 KiB until it is closed for its age. For a time in which nothing is fetched.
    pub fn close_swollen_connections(&self) {
        self.shared.clients.close_swollen();
    }

    /// Applies the address rule, and finds the client for where the request may go and whom it trusts.
    async fn client(
        &self,
        place: &Place<'_>,
        call: &FetchCall,
        literal_hosts: &[String],
        times: Times,
    ) -> Result<Client, Failure> {
        let url = &place.request.url;
        let reach = self.shared.rule.judge(url, literal_hosts).map_err(|refused| place.refused(&refused))?;
        if url.scheme() != "https" {
            return Ok(self.shared.clients.default(reach));
        }
        let preparing = self.tls_client(reach, place, call);
        match tokio::time::timeout_at(times.deadline, preparing).await {
            Ok(client) => client,
            Err(_) => Err(place.late("reading certificates", times.whole)),
        }
    }

    async fn tls_client(&self, reach: Reach, place: &Place<'_>, call: &FetchCall) -> Result<Client, Failure> {
        let setting = TlsSetting { verify: call.tls_verify, ca_file: call.ca_file.as_deref() };
        let client = self.shared.clients.with(reach, setting).await.map_err(|error| {
            Failure::workflow("ca-file", place.says(error))
                .with_help("ca_file names a PEM file that the supervisor can read")
        })?;
        client.prepare_tls().await;
        Ok(client)
    }
}

/// The encoding that the call insists on.
fn encoding(call: &FetchCall) -> Result<Option<&'static Encoding>, Failure> {
    let Some(label) = &call.encoding else { return Ok(None) };
    match Encoding::for_label(label.as_bytes()) {
        Some(encoding) => Ok(Some(encoding)),
        None => {
            let url = cause::shown_text(&call.url);
            let message = format!("{} {url}: the encoding {label:?} is not known", call.method);
            Err(Failure::workflow("encoding", message)
                .with_help("use a label of the WHATWG encoding standard, such as utf-8, windows-1252 or shift_jis"))
        }
    }
}

/// Ends a chain that is too long or comes back to where it was.
fn check_chain(passed: &[(Method, String)], next: &Outgoing, place: &Place<'_>, max: u16) -> Result<(), Failure> {
    let goes_back = |method: &Method, url: &str| *method == next.method && url == next.url.as_str();
    let now = place.request;
    if goes_back(&now.method, now.url.as_str()) || passed.iter().any(|(method, url)| goes_back(method, url)) {
        let cause = format!("the redirect leads back to {}", cause::shown_text(next.url.as_str()));
        return Err(place.lasting("redirect", cause).with_help(
            "servers that wait for a cookie do this; \"follow_redirects\": false returns the redirect itself",
        ));
    }
    if passed.len() >= usize::from(max) {
        let cause = format!("redirected again, to {}, after {max} redirects", cause::shown_text(next.url.as_str()));
        return Err(place.lasting("redirect", cause).with_help("max_redirects sets how many are followed"));
    }
    Ok(())
}

/// Header fields as text; what is not UTF-8 in them is replaced.
fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    headers.iter().map(field).collect()
}
