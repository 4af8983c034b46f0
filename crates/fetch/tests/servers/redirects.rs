//! Chains of redirects: what is sent again, what is left behind, where a chain ends.

use crate::support::{Server, fails, fetcher, fetcher_with_hosts, get, header, page, redirect, text};
use bytes::Bytes;
use http::Response;
use runlet_proto::call::FetchCall;

fn post(url: String) -> FetchCall {
    FetchCall {
        method: "POST".to_owned(),
        body: Some(Bytes::from_static(b"payload")),
        headers: [("Content-Type", "text/plain"), ("Authorization", "Bearer t"), ("Cookie", "a=b"), ("X-Own", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..get(url)
    }
}

#[tokio::test]
async fn chains_are_followed_and_listed() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/a" => redirect(301, "/b#part"),
        "/b" => redirect(307, "c/d?x=1"),
        "/c/d?x=1" => page("there"),
        other => panic!("{other}"),
    })
    .await;
    let reply = fetcher().fetch(get(server.url("localhost", "/a"))).await.unwrap();
    assert_eq!(text(&reply), "there");
    assert_eq!(reply.url, server.url("localhost", "/c/d?x=1"));
    assert_eq!(reply.redirects, [server.url("localhost", "/a"), server.url("localhost", "/b")]);
}

#[tokio::test]
async fn a_post_becomes_a_get_or_is_repeated() {
    for (status, method, body) in
        [(302, "GET", ""), (303, "GET", ""), (307, "POST", "payload"), (308, "POST", "payload")]
    {
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/a" => redirect(status, "/b"),
            _ => page("done"),
        })
        .await;
        fetcher().fetch(post(server.url("localhost", "/a"))).await.unwrap();
        let last = server.seen().pop().unwrap();
        assert_eq!((last.method.as_str(), &last.body[..]), (method, body.as_bytes()), "{status}");
        assert_eq!(last.headers.contains_key("content-type"), method == "POST", "{status}");
        // Same origin: nothing is lost.
        assert_eq!(last.headers["authorization"], "Bearer t");
    }
}

#[tokio::test]
async fn another_port_of_a_literal_host_is_not_for_a_server_to_point_at() {
    let other = Server::start(|_| page("the database")).await;
    let location = other.url("localhost", "/");
    let server = Server::start(move |_| redirect(302, &location)).await;
    let failure = fails(fetcher().fetch(get(server.url("localhost", "/"))).await, "address-refused", &["loopback"]);
    assert!(failure.help.unwrap().contains("at the port that was asked first"));
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn secrets_do_not_cross_to_another_origin() {
    let other = Server::start(|_| page("other")).await;
    let location = other.url("outside.example", "/");
    let server = Server::start(move |_| redirect(307, &location)).await;
    let mut call = post(server.url("localhost", "/"));
    call.headers.push(("Host".to_owned(), "virtual.example".to_owned()));
    call.literal_hosts.push("outside.example".to_owned());
    // 127.0.0.2 reaches a server on 127.0.0.1 on no system, so the name is given the latter.
    let config = runlet_fetch::Config {
        hosts: [("outside.example".to_owned(), vec!["127.0.0.1".parse().unwrap()])].into(),
        // It listens at a port of its own.
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        ..runlet_fetch::Config::default()
    };
    runlet_fetch::Fetcher::new(config).unwrap().fetch(call).await.unwrap();
    let (first, last) = (server.seen().pop().unwrap(), other.seen().pop().unwrap());
    assert_eq!(first.headers["host"], "virtual.example");
    assert_eq!(last.headers["host"], format!("outside.example:{}", other.port));
    for name in ["authorization", "cookie"] {
        assert!(first.headers.contains_key(name) && !last.headers.contains_key(name), "{name}");
    }
    assert_eq!(last.headers["x-own"], "1");
    assert_eq!(&last.body[..], b"payload");
}

#[tokio::test]
async fn credentials_in_a_url_are_sent_but_not_shown() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/a" => redirect(302, "/b"),
        _ => page("in"),
    })
    .await;
    let url = server.url("alice:secret@localhost", "/a");
    let reply = fetcher().fetch(get(url)).await.unwrap();
    assert_eq!(reply.redirects, [server.url("localhost", "/a")]);
    assert!(server.seen().iter().all(|seen| seen.headers["authorization"] == "Basic YWxpY2U6c2VjcmV0"));
}

#[tokio::test]
async fn without_redirects_the_redirect_is_the_reply() {
    let server = Server::start(|_| redirect(302, "/b")).await;
    let reply = fetcher().fetch(FetchCall { redirects_max: 0, ..get(server.url("localhost", "/a")) }).await.unwrap();
    assert_eq!((reply.status, header(&reply, "location"), text(&reply)), (302, Some("/b"), "moved"));
    assert!(reply.redirects.is_empty());
    // One without a location is a reply in any case.
    let server = Server::start(|_| Response::builder().status(301).body(Bytes::from_static(b"where")).unwrap()).await;
    let reply = fetcher().fetch(get(server.url("localhost", "/a"))).await.unwrap();
    assert_eq!((reply.status, text(&reply)), (301, "where"));
}

#[tokio::test]
async fn chains_that_lead_nowhere_are_named() {
    let server = Server::start(|seen| {
        let count: u32 = seen.path.rsplit('/').next().unwrap().parse().unwrap_or(0);
        match seen.path.split('/').nth(1).unwrap() {
            "self" => redirect(302, "/self"),
            "ping" => redirect(302, "/pong"),
            "pong" => redirect(302, "/ping"),
            "long" => redirect(302, &format!("/long/{}", count + 1)),
            "file" => redirect(302, "file:///etc/passwd"),
            "broken" => redirect(302, "http://["),
            other => panic!("{other}"),
        }
    })
    .await;
    let fetcher = fetcher_with_hosts();
    let url = |path: &str| server.url("localhost", path);
    fails(fetcher.fetch(get(url("/self"))).await, "redirect", &["leads back to", "/self"]);
    let failure = fails(fetcher.fetch(get(url("/ping"))).await, "redirect", &["leads back to", "/ping"]);
    assert!(!failure.retryable && failure.help.unwrap().contains("cookie"));
    let limited = FetchCall { redirects_max: 3, ..get(url("/long/0")) };
    fails(fetcher.fetch(limited).await, "redirect", &["/long/4, after 3 redirects", "redirected from"]);
    fails(fetcher.fetch(get(url("/file"))).await, "redirect", &["the scheme file is not http or https"]);
    fails(fetcher.fetch(get(url("/broken"))).await, "redirect", &["is not a URL"]);
    assert_eq!(server.seen().iter().filter(|seen| seen.path.starts_with("/long")).count(), 4);
}
