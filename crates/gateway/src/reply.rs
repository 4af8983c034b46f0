//! What the supervisor answered, as an HTTP response.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use runlet_proto::control::{Refusal, RefusalKind};
use runlet_proto::failure::FailureClass;
use runlet_proto::hook::{HookAnswer, HookFailure, HttpReply, Route};
use runlet_proto::ids::RunId;

use crate::link::Outcome;
use crate::problem::{Kind, Problem};
use crate::untaken::Untaken;

/// Names the run that was accepted.
const RUN: HeaderName = HeaderName::from_static("runlet-run");

/// The response to a request that was sent to the supervisor for a hook.
pub(crate) fn response(outcome: Outcome, route: &Route, untaken: &Untaken) -> Result<Response<Full<Bytes>>, Problem> {
    match outcome {
        Outcome::Answer(HookAnswer::Reply(reply)) => reply_response(Arc::unwrap_or_clone(reply), untaken),
        Outcome::Answer(HookAnswer::Accepted(run)) => Ok(accepted(run)),
        Outcome::Answer(HookAnswer::Failed(failure)) => Err(failed(failure)),
        Outcome::Refused(refusal) => Err(refused(refusal)),
        Outcome::Overdue => {
            let Route { workflow, timeout_ms, .. } = route;
            let detail = format!("the workflow `{workflow}` gave no reply within {timeout_ms} ms");
            Err(Problem::new(Kind::NoReplyInTime, detail))
        }
        Outcome::Lost => Err(Problem::new(
            Kind::SupervisorLost,
            "the connection to the supervisor ended before it answered; what became of the run is not known",
        )),
    }
}

fn reply_response(reply: HttpReply, untaken: &Untaken) -> Result<Response<Full<Bytes>>, Problem> {
    let status = match StatusCode::from_u16(reply.status) {
        Ok(status) if (200..=599).contains(&reply.status) => status,
        Ok(_) | Err(_) => return Err(bad_reply(&format!("{} is no status of a response", reply.status))),
    };
    let mut headers = HeaderMap::with_capacity(reply.headers.len());
    for (name, value) in reply.headers {
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(bad_reply(&format!("`{name}` is no header name")));
        };
        if is_ours(&header) {
            continue;
        }
        let Ok(value) = HeaderValue::try_from(value) else {
            return Err(bad_reply(&format!("the value of the header `{name}` holds a character that cannot be sent")));
        };
        headers.append(header, value);
    }
    let mut response = Response::new(Full::new(untaken.hold(reply.body)?));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Fields that say how the message travels (RFC 9110, section 7.6.1): hyper's business, and a contradiction between a
/// workflow's and hyper's would break the connection.
fn is_ours(name: &HeaderName) -> bool {
    // One look at the length saves most names the comparisons.
    match name.as_str().len() {
        2 => *name == TE,
        7 => *name == UPGRADE || *name == TRAILER,
        10 => *name == CONNECTION || name == "keep-alive",
        14 => *name == CONTENT_LENGTH,
        16 => name == "proxy-connection",
        17 => *name == TRANSFER_ENCODING,
        18 => *name == PROXY_AUTHENTICATE,
        _ => false,
    }
}

fn bad_reply(cause: &str) -> Problem {
    Problem::new(Kind::BadReply, format!("the workflow's response is not valid HTTP: {cause}"))
}

fn accepted(run: RunId) -> Response<Full<Bytes>> {
    let run = run.to_string();
    let mut response = Response::new(Full::new(Bytes::from(format!("{{\"run\":\"{run}\"}}"))));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RUN, HeaderValue::try_from(run).expect("a UUID is ASCII"));
    response
}

fn failed(failure: HookFailure) -> Problem {
    let kind = match failure.class {
        FailureClass::Workflow => Kind::RunFailed,
        FailureClass::Upstream => Kind::UpstreamFailed,
        FailureClass::Stopped => Kind::RunStopped,
        FailureClass::Timeout => Kind::RunTimedOut,
    };
    Problem::new(kind, failure.message).of_run(failure.run, failure.block, failure.attempt, failure.code)
}

fn refused(refusal: Refusal) -> Problem {
    let kind = match refusal.kind {
        RefusalKind::NotFound => Kind::UnknownHook,
        RefusalKind::Overloaded => Kind::TooManyRequests,
        RefusalKind::ShuttingDown => Kind::ShuttingDown,
        RefusalKind::Conflict => Kind::Conflict,
        RefusalKind::NoRoom => Kind::NoRoom,
        RefusalKind::Invalid => Kind::BadHead,
        RefusalKind::Protocol => Kind::Internal,
    };
    Problem::new(kind, refusal.message).with_help(refusal.help)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)]) -> Result<Response<Full<Bytes>>, Problem> {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let reply = HttpReply { status, headers, body: Bytes::from_static(b"x") };
        reply_response(reply, &Untaken::default())
    }

    #[test]
    fn a_workflow_cannot_contradict_the_transport() {
        let response = reply(
            200,
            &[("content-length", "99"), ("transfer-encoding", "chunked"), ("connection", "close"), ("x-own", "1")],
        );
        let headers = response.unwrap().into_parts().0.headers;
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-own"], "1");
    }

    #[test]
    fn repeated_fields_stay() {
        let response = reply(200, &[("set-cookie", "a=1"), ("set-cookie", "b=2")]).unwrap();
        assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn replies_that_are_not_http_are_problems() {
        for (status, headers) in
            [(99, vec![]), (100, vec![]), (600, vec![]), (200, vec![("a b", "1")]), (200, vec![("a", "b\r\nc: d")])]
        {
            let problem = reply(status, &headers).unwrap_err();
            assert_eq!(problem.into_response().status(), 500);
        }
    }
}
