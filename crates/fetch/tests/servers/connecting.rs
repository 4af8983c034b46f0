//! Connections: names, TCP, TLS, HTTP/2, the pool, and servers that are slow, broken or gone.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http::Version;
use runlet_fetch::{Config, Fetcher};
use runlet_proto::call::FetchCall;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::{Identity, Raw, Server, fails, fetcher, get, header, hold, page, read_head, text};

fn trusting(identity: &Identity, folder: &tempfile::TempDir) -> Fetcher {
    let ca_file = Some(identity.write_ca(folder.path()));
    Fetcher::new(Config { ca_file, ..Config::default() }).unwrap()
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let call = FetchCall { literal_hosts: vec!["nowhere.invalid".to_owned()], ..get("http://nowhere.invalid/") };
    let failure = fails(fetcher().fetch(call).await, "dns", &["GET http://nowhere.invalid/", "no address"]);
    assert!(failure.retryable);
}

#[tokio::test]
async fn a_url_that_http_cannot_carry() {
    let call = FetchCall { literal_hosts: vec!["{{hostname}}".to_owned()], ..get("http://{{hostname}}/") };
    fails(fetcher().fetch(call).await, "url", &["{{hostname}}"]);
}

#[tokio::test]
async fn a_port_nobody_listens_on() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let failed = fetcher().fetch(get(format!("http://localhost:{port}/x?token=abc"))).await;
    let failure = fails(failed, "connect", &[&format!("GET http://localhost:{port}/x?token=***"), "refused"]);
    assert!(failure.retryable);
}

#[tokio::test]
async fn a_self_signed_certificate_needs_trust() {
    let identity = Identity::self_signed("localhost", false);
    let server = Server::start_tls(&identity, |_| page("secure")).await;
    let url = server.url("localhost", "/");
    let failure = fails(fetcher().fetch(get(&url)).await, "tls", &["not trusted", "self-signed"]);
    let help = failure.help.unwrap();
    assert!(help.contains("\"tls\": {\"verify\": false}") && help.contains("RUNLET_CA_FILE"), "{help}");
    assert!(!failure.retryable);
    let folder = tempfile::tempdir().unwrap();
    let ca_file = identity.write_ca(folder.path());
    let by_call = FetchCall { ca_file: Some(ca_file.to_str().unwrap().to_owned()), ..get(&url) };
    let blind = FetchCall { tls_verify: false, ..get(&url) };
    let fetcher_here = fetcher();
    for call in [by_call, blind] {
        assert_eq!(text(&fetcher_here.fetch(call).await.unwrap()), "secure");
    }
    assert_eq!(text(&trusting(&identity, &folder).fetch(get(&url)).await.unwrap()), "secure");
    // A connection that was made without verification does not serve a call that wants it.
    fails(fetcher_here.fetch(get(&url)).await, "tls", &["not trusted"]);
}

#[tokio::test]
async fn a_certificate_as_openssl_makes_it_may_be_named_as_trusted() {
    // It claims to be an authority, which no server certificate may.
    let identity = Identity::self_signed("localhost", true);
    let server = Server::start_tls(&identity, |_| page("secure")).await;
    fails(fetcher().fetch(get(server.url("localhost", "/"))).await, "tls", &["not trusted", "self-signed"]);
    let folder = tempfile::tempdir().unwrap();
    let trusting = trusting(&identity, &folder);
    assert_eq!(text(&trusting.fetch(get(server.url("localhost", "/"))).await.unwrap()), "secure");
    // For its own name only.
    let call = FetchCall { literal_hosts: vec!["127.0.0.1".to_owned()], ..get(server.url("127.0.0.1", "/")) };
    fails(trusting.fetch(call).await, "tls", &["another name"]);
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let identity = Identity::for_names(&["example.org"]);
    let server = Server::start_tls(&identity, |_| page("secure")).await;
    let folder = tempfile::tempdir().unwrap();
    let failed = trusting(&identity, &folder).fetch(get(server.url("localhost", "/"))).await;
    fails(failed, "tls", &["another name", "example.org"]);
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let missing = folder.path().join("missing.pem");
    for (path, cause) in [(empty, "no certificate in it"), (missing, "No such file")] {
        let path = path.to_str().unwrap().to_owned();
        let call = FetchCall { ca_file: Some(path.clone()), ..get("https://localhost:1/") };
        fails(fetcher().fetch(call).await, "ca-file", &["GET https://localhost:1/", &path, cause]);
    }
}

#[tokio::test]
async fn http_on_a_tls_port_and_tls_on_an_http_port() {
    let plain = Server::start(|_| page("plain")).await;
    let failure =
        fails(fetcher().fetch(get(format!("https://localhost:{}/", plain.port))).await, "tls", &["does not speak TLS"]);
    assert!(failure.help.unwrap().contains("http://"));
    let secure = Server::start_tls(&Identity::for_names(&["localhost"]), |_| page("secure")).await;
    let result = fetcher().fetch(get(format!("http://localhost:{}/", secure.port))).await;
    let failure = result.unwrap_err();
    assert!(["protocol", "closed"].contains(&failure.code.as_str()), "{failure}");
    let deaf = Raw::start(|_, stream| async move { drop(stream) }).await;
    let failure = fetcher().fetch(get(format!("https://localhost:{}/", deaf.port))).await.unwrap_err();
    assert!(["tls", "connect"].contains(&failure.code.as_str()) && failure.retryable, "{failure}");
}

#[tokio::test]
async fn http2_is_spoken_and_one_connection_serves_many_calls() {
    let identity = Identity::for_names(&["localhost"]);
    let server = Server::start_tls(&identity, |seen| page(seen.path.clone())).await;
    let folder = tempfile::tempdir().unwrap();
    let fetcher = trusting(&identity, &folder);
    fetcher.fetch(get(server.url("localhost", "/first"))).await.unwrap();
    let calls: Vec<_> = (0..20)
        .map(|i| {
            let (fetcher, url) = (fetcher.clone(), server.url("localhost", &format!("/{i}")));
            tokio::spawn(async move { fetcher.fetch(get(url)).await })
        })
        .collect();
    for (i, call) in calls.into_iter().enumerate() {
        assert_eq!(text(&call.await.unwrap().unwrap()), format!("/{i}"));
    }
    assert!(server.seen().iter().all(|seen| seen.version == Version::HTTP_2));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn http1_connections_are_used_again() {
    let server = Server::start(|_| page("hello")).await;
    let fetcher = fetcher();
    for _ in 0..20 {
        fetcher.fetch(get(server.url("localhost", "/"))).await.unwrap();
        // Gives the connection back before the next call asks for one.
        settle().await;
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn connections_whose_buffers_grew_are_closed_on_demand() {
    let server = Server::start(|seen| page(vec![b'x'; if seen.path == "/large" { 1 << 20 } else { 100 }])).await;
    let fetcher = fetcher();
    for (path, connections) in [("/small", 1), ("/small", 1), ("/large", 1), ("/small", 2), ("/small", 2)] {
        fetcher.fetch(get(server.url("localhost", path))).await.unwrap();
        settle().await;
        assert_eq!(server.connections(), connections, "{path}");
        fetcher.close_swollen_connections();
    }
}

/// Lets everything run that is ready to, on this test's one thread.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_sent() {
    let server = Server::start(|_| page("hello")).await;
    let call = FetchCall {
        method: "PATCH".to_owned(),
        headers: vec![("X-Two".to_owned(), "a".to_owned()), ("X-Two".to_owned(), "b".to_owned())],
        body: Some(Bytes::from_static(b"payload")),
        ..get(server.url("localhost", "/a%20b?c=d#e"))
    };
    let reply = fetcher().fetch(call).await.unwrap();
    assert_eq!((reply.status, header(&reply, "content-type")), (200, Some("text/html")));
    let seen = server.seen().remove(0);
    assert_eq!((seen.method.as_str(), seen.path.as_str(), &seen.body[..]), ("PATCH", "/a%20b?c=d", &b"payload"[..]));
    assert_eq!(seen.headers["content-length"], "7");
    assert!(seen.headers["user-agent"].to_str().unwrap().starts_with("runlet/"));
    assert_eq!(seen.headers.get_all("x-two").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(!seen.headers.contains_key("referer"));
}

/// Serves one request per connection but promises more, so the second one on the first connection meets a closed door.
async fn forgetful() -> Raw {
    Raw::start(|number, mut stream| async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
        read_head(&mut stream).await;
        let _ = stream.write_all(answer).await;
        if number == 0 {
            read_head(&mut stream).await;
        } else {
            hold(stream).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_replaced() {
    let server = forgetful().await;
    let fetcher = fetcher();
    for _ in 0..2 {
        assert_eq!(text(&fetcher.fetch(get(server.url("/"))).await.unwrap()), "ok");
        settle().await;
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn what_may_not_be_repeated_is_not() {
    let server = forgetful().await;
    let fetcher = fetcher();
    fetcher.fetch(get(server.url("/"))).await.unwrap();
    settle().await;
    let post = FetchCall { method: "POST".to_owned(), ..get(server.url("/")) };
    let failure = fails(fetcher.fetch(post).await, "closed", &["POST http://localhost", "without a response"]);
    assert!(failure.retryable);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn responses_that_are_not_http() {
    let server = Raw::saying("SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    fails(fetcher().fetch(get(server.url("/"))).await, "protocol", &["is not HTTP"]);
    let server = Raw::saying("").await;
    fails(fetcher().fetch(get(server.url("/"))).await, "closed", &["without a response"]);
    let server = Raw::saying("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n").await;
    fails(fetcher().fetch(get(server.url("/"))).await, "protocol", &["GET http://localhost"]);
}

#[tokio::test]
async fn timeouts_say_what_was_waited_for() {
    let quick = |call: FetchCall| FetchCall { timeout_ms: 400, ..call };
    // Accepts and never shakes hands.
    let mute = Raw::start(|_, stream| hold(stream)).await;
    let call = FetchCall { connect_timeout_ms: 200, ..get(format!("https://localhost:{}/", mute.port)) };
    let failure =
        fails(fetcher().fetch(call).await, "timeout", &["after 200ms", "connecting to localhost (TCP, then TLS)"]);
    assert!(failure.retryable && failure.help.unwrap().contains("connect_timeout"));
    // Reads the request and never answers.
    let failed = fetcher().fetch(quick(get(mute.url("/")))).await;
    let failure = fails(failed, "timeout", &["after 400ms while waiting for the response"]);
    assert!(failure.help.unwrap().contains("whole exchange"));
    // Stops in the middle of the head.
    let slow = Raw::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await;
        hold(stream).await;
    })
    .await;
    fails(fetcher().fetch(quick(get(slow.url("/")))).await, "timeout", &["waiting for the response"]);
    // Stops in the middle of the body.
    let stuck = Raw::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        hold(stream).await;
    })
    .await;
    fails(fetcher().fetch(quick(get(stuck.url("/")))).await, "timeout", &["while reading the body"]);
}

#[tokio::test]
async fn a_long_timeout_does_not_overflow() {
    let server = Server::start(|_| page("hello")).await;
    let call = FetchCall { timeout_ms: u64::MAX, connect_timeout_ms: u64::MAX, ..get(server.url("localhost", "/")) };
    assert_eq!(text(&fetcher().fetch(call).await.unwrap()), "hello");
}
