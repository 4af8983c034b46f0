//! One request and the head of its response, and the reading of the body behind it.

use std::time::Duration;

use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use runlet_proto::call::BodyAs;
use runlet_proto::failure::Failure;
use tokio::time::Instant;

use crate::body::{self, BodyError};
use crate::budget::Share;
use crate::cause::{self, Place};
use crate::clients::Client;
use crate::coding::{self, Chain};
use crate::connect::{self, Phase, Progress};
use crate::limits;

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) deadline: Instant,
    /// What the deadline was made from, for the message.
    pub(crate) whole: Duration,
    pub(crate) connect: Duration,
}

impl Times {
    pub(crate) fn new(timeout_ms: u64, connect_timeout_ms: u64) -> Self {
        let whole = Duration::from_millis(timeout_ms).min(limits::TIMEOUT_MAX);
        let connect = Duration::from_millis(connect_timeout_ms).min(limits::CONNECT_TIMEOUT_MAX);
        Self { deadline: Instant::now() + whole, whole, connect }
    }
}

/// Sends a request and waits for the head of the response.
///
/// A pooled connection may have been closed by its server at the very moment it was taken. Then nothing was answered, and a
/// request that may be repeated is sent again (RFC 9110, section 9.2.2), at the latest on a connection of its own.
pub(crate) async fn send(client: &Client, place: &Place<'_>, times: Times) -> Result<reqwest::Response, Failure> {
    let mut stale = 0;
    loop {
        let progress = Progress::new(times.connect);
        let sending = client.http.execute(place.request.to_reqwest());
        let sent = connect::within(progress.clone(), tokio::time::timeout_at(times.deadline, sending)).await;
        match sent {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => {
                let again = progress.phase() == Phase::Pooled
                    && stale < limits::STALE_CONNECTIONS_MAX
                    && place.request.method.is_idempotent()
                    && cause::is_stale(&error);
                if !again {
                    return Err(place.not_sent(&error));
                }
                stale += 1;
            }
            Err(_) => return Err(place.timed_out(progress.phase(), times.whole)),
        }
    }
}

/// Checks the head, reads the body. The header fields are those of the body as it is returned.
pub(crate) async fn receive(
    mut response: reqwest::Response,
    place: &Place<'_>,
    times: Times,
    (bytes_max, body_as): (u64, BodyAs),
    share: &mut Share<'_>,
) -> Result<(HeaderMap, Vec<u8>), Failure> {
    let mut headers = std::mem::take(response.headers_mut());
    check_size(&headers, place)?;
    if has_no_body(&place.request.method, response.status()) {
        return Ok((headers, Vec::new()));
    }
    let (mut chain, unknown) = match coding::chain(&headers) {
        Ok(chain) => (chain, None),
        Err(why) => (Chain::none(), Some(why)),
    };
    let announced = response.content_length();
    let max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let reading = body::collect(&mut response, &mut chain, announced, max, share);
    let bytes = match tokio::time::timeout_at(times.deadline, reading).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(not_read(&error, place, bytes_max)),
        Err(_) => return Err(place.late("reading the body", times.whole)),
    };
    // Some servers write a charset or "none" where the coding belongs. What reads as text was not coded, and who asks for
    // bytes finds the field untouched beside them.
    if let Some(why) = unknown.filter(|_| body_as != BodyAs::Bytes && std::str::from_utf8(&bytes).is_err()) {
        return Err(place.lasting("coding", why));
    }
    if !chain.is_empty() {
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok((headers, bytes))
}

fn not_read(error: &BodyError, place: &Place<'_>, bytes_max: u64) -> Failure {
    match error {
        BodyError::Read(error) => place.body_broke(error),
        BodyError::TooLarge => {
            let cause = format!("the body is larger than the limit of {bytes_max} bytes");
            place.lasting("too-large", cause).with_help("max_body_size sets the limit; it counts decompressed bytes")
        }
        BodyError::Coding(_) => place.lasting("coding", error),
        BodyError::CodingCutShort => place.upstream("cut-short", error),
    }
}

/// Responses that end with their head, whatever it announces (RFC 9112, section 6.3).
fn has_no_body(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

fn check_size(headers: &HeaderMap, place: &Place<'_>) -> Result<(), Failure> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes <= limits::HEADERS_BYTES_MAX {
        return Ok(());
    }
    let cause = format!("{bytes} bytes of header fields; {} are allowed", limits::HEADERS_BYTES_MAX);
    Err(place.lasting("too-large", cause))
}
