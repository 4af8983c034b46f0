//! Bodies: limits, compression, bodies that lie about themselves, many at once.

use bytes::Bytes;
use http::Response;
use runlet_fetch::{Config, Fetcher};
use runlet_proto::call::{Body, BodyAs, FetchCall};
use tokio::io::AsyncWriteExt;

use crate::compress::{CODINGS, compress};
use crate::support::{Raw, Server, fails, fetcher, get, header, hold, page, read_head, text};

fn coded(coding: &str, plain: &[u8]) -> Response<Bytes> {
    let mut response = page(compress(coding, plain));
    let name = coding.strip_suffix("-bare").unwrap_or(coding);
    response.headers_mut().insert("content-encoding", name.parse().unwrap());
    response
}

#[tokio::test]
async fn compressed_bodies_arrive_plain() {
    let plain = "<h1>héllo</h1>".repeat(5000);
    let server = Server::start({
        let plain = plain.clone();
        move |seen| coded(&seen.path[1..], plain.as_bytes())
    })
    .await;
    for coding in CODINGS {
        let reply = fetcher().fetch(get(server.url("localhost", &format!("/{coding}")))).await.unwrap();
        assert!(text(&reply) == plain, "{coding}");
        assert_eq!((header(&reply, "content-encoding"), header(&reply, "content-length")), (None, None), "{coding}");
    }
    assert_eq!(server.seen()[0].headers["accept-encoding"], "gzip, br, zstd, deflate");
}

#[tokio::test]
async fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 32 << 20];
    let bombs = CODINGS.map(|coding| (coding, coded(coding, &zeros)));
    let server =
        Server::start(move |seen| bombs.iter().find(|(coding, _)| *coding == &seen.path[1..]).unwrap().1.clone());
    let server = server.await;
    for coding in CODINGS {
        let call = FetchCall { body_bytes_max: 1 << 20, ..get(server.url("localhost", &format!("/{coding}"))) };
        let failure = fails(fetcher().fetch(call).await, "too-large", &["GET http://localhost", "1048576 bytes"]);
        assert!(!failure.retryable && failure.help.unwrap().contains("max_body_size"), "{coding}");
    }
}

#[tokio::test]
async fn the_limit_is_exact() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/plain" => page(vec![b'a'; 1000]),
        _ => coded("gzip", &[b'a'; 1000]),
    })
    .await;
    for path in ["/plain", "/gzip"] {
        let call = |body_bytes_max| FetchCall { body_bytes_max, ..get(server.url("localhost", path)) };
        assert_eq!(fetcher().fetch(call(1000)).await.unwrap().body.len(), 1000);
        fails(fetcher().fetch(call(999)).await, "too-large", &["999 bytes"]);
    }
    // An endless body is not read to its end.
    let endless = Raw::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    })
    .await;
    let call = FetchCall { body_bytes_max: 100_000, ..get(endless.url("/")) };
    fails(fetcher().fetch(call).await, "too-large", &["100000 bytes"]);
}

#[tokio::test]
async fn codings_that_cannot_be_undone_are_named() {
    let server = Server::start(|seen| {
        let mut response = page(Bytes::from_static(b"this is not compressed"));
        response.headers_mut().insert("content-encoding", seen.path[1..].parse().unwrap());
        response
    })
    .await;
    let url = |coding: &str| server.url("localhost", &format!("/{coding}"));
    for coding in ["gzip", "br", "zstd"] {
        fails(fetcher().fetch(get(url(coding))).await, "coding", &["compressed body is broken"]);
    }
    // A label that is no coding changes nothing; one that is, but is not known here, leaves no text.
    let reply = fetcher().fetch(get(url("utf-8"))).await.unwrap();
    assert_eq!((text(&reply), header(&reply, "content-encoding")), ("this is not compressed", Some("utf-8")));
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-encoding: compress\r\ncontent-length: 4\r\n\r\n";
    let server = Raw::saying([head.as_slice(), b"\x1f\x9d\x90\x61"].concat()).await;
    fails(fetcher().fetch(get(server.url("/"))).await, "coding", &["\"compress\" is not known"]);
    let bytes = FetchCall { body_as: BodyAs::Bytes, ..get(server.url("/")) };
    assert_eq!(fetcher().fetch(bytes).await.unwrap().body.len(), 4);
}

#[tokio::test]
async fn bodies_that_are_cut_short_are_not_taken_for_whole() {
    let gzip = compress("gzip", &[b'a'; 5000]);
    let half = [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-encoding: gzip\r\n\r\n".as_slice(),
        &gzip[..gzip.len() / 2],
    ]
    .concat();
    for response in [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 100\r\n\r\nshort".to_vec(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nshort".to_vec(),
        half,
    ] {
        let server = Raw::saying(response).await;
        let failure = fails(fetcher().fetch(get(server.url("/"))).await, "cut-short", &["GET http://localhost"]);
        assert!(failure.retryable);
    }
    // Without a length the end of the connection is the end of the body.
    let server = Raw::saying("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\nto the end").await;
    assert_eq!(text(&fetcher().fetch(get(server.url("/"))).await.unwrap()), "to the end");
    // More than was announced belongs to nothing.
    let server = Raw::saying("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 3\r\n\r\nabcdef").await;
    assert_eq!(text(&fetcher().fetch(get(server.url("/"))).await.unwrap()), "abc");
}

#[tokio::test]
async fn responses_without_a_body_have_none() {
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\ncontent-encoding: gzip"),
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-encoding: gzip"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\netag: \"x\""),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-encoding: gzip"),
    ] {
        let server = Raw::saying(format!("{head}\r\n\r\n")).await;
        let call = FetchCall { method: method.to_owned(), body_bytes_max: 10, ..get(server.url("/")) };
        let reply = fetcher().fetch(call).await.unwrap();
        assert!(reply.body.is_empty(), "{head}");
    }
}

#[tokio::test]
async fn texts_and_bytes_are_told_apart() {
    let server = Server::start(|seen| {
        let body = encoding_rs::WINDOWS_1251.encode("<h1>Привет</h1>").0.into_owned();
        Response::builder()
            .header("content-type", seen.path[1..].replace('_', "; charset="))
            .body(Bytes::from(body))
            .unwrap()
    })
    .await;
    let url = |path: &str| server.url("localhost", path);
    let reply = fetcher().fetch(get(url("/text/html_windows-1251"))).await.unwrap();
    assert!(
        matches!(&reply.body, Body::Text { text, encoding } if text == "<h1>Привет</h1>" && encoding == "windows-1251")
    );
    let asked = FetchCall { encoding: Some("cp1251".to_owned()), ..get(url("/text/html_latin1")) };
    assert_eq!(text(&fetcher().fetch(asked).await.unwrap()), "<h1>Привет</h1>");
    let bytes = FetchCall { body_as: BodyAs::Bytes, ..get(url("/text/html")) };
    assert!(matches!(fetcher().fetch(bytes).await.unwrap().body, Body::Bytes(_)));
    assert!(matches!(fetcher().fetch(get(url("/image/png"))).await.unwrap().body, Body::Bytes(_)));
    let unknown = FetchCall { encoding: Some("klingon".to_owned()), ..get(url("/text/html")) };
    let seen = server.seen().len();
    fails(fetcher().fetch(unknown).await, "encoding", &["\"klingon\" is not known"]);
    assert_eq!(server.seen().len(), seen, "checked before anything is sent");
}

#[tokio::test]
async fn header_fields_arrive_in_lower_case_and_readable() {
    let server = Raw::saying(
        b"HTTP/1.1 200 OK\r\nX-First: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Latin: caf\xe9\r\ncontent-length: 0\r\n\r\n"
            .to_vec(),
    )
    .await;
    let reply = fetcher().fetch(get(server.url("/"))).await.unwrap();
    let cookies: Vec<_> =
        reply.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value).collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!((header(&reply, "x-first"), header(&reply, "x-latin")), (Some("1"), Some("caf\u{fffd}")));
}

#[tokio::test]
async fn heads_out_of_bounds_are_refused() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-a: 1\r\n".repeat(2000));
    fails(fetcher().fetch(get(Raw::saying(many).await.url("/"))).await, "too-large", &["head"]);
    let large = format!("HTTP/1.1 200 OK\r\nx-a: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(100_000));
    fails(fetcher().fetch(get(Raw::saying(large).await.url("/"))).await, "too-large", &["header fields"]);
    let endless = format!("HTTP/1.1 200 OK\r\nx-a: {}", "a".repeat(2 << 20));
    fails(fetcher().fetch(get(Raw::saying(endless).await.url("/"))).await, "too-large", &["head"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_bodies_at_once_share_a_small_budget_and_all_arrive() {
    let body: Bytes = vec![b'a'; 300_000].into();
    let server = Server::start({
        let body = body.clone();
        move |seen| match seen.path.as_str() {
            "/gzip" => coded("gzip", &body),
            _ => page(body.clone()),
        }
    })
    .await;
    let fetcher = Fetcher::new(Config { bodies_bytes_max: 500_000, ..Config::default() }).unwrap();
    let calls: Vec<_> = (0..48)
        .map(|i| {
            let fetcher = fetcher.clone();
            let url = server.url("localhost", if i % 2 == 0 { "/" } else { "/gzip" });
            tokio::spawn(async move { fetcher.fetch(get(url)).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().body.len(), body.len());
    }
}

#[tokio::test]
async fn a_small_page_does_not_wait_for_downloads_that_hold_the_budget() {
    let stuck = Raw::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\nhalf").await;
        hold(stream).await;
    })
    .await;
    let small = Server::start(|_| page(vec![b'a'; 20_000])).await;
    let fetcher = Fetcher::new(Config { bodies_bytes_max: 100_000, ..Config::default() }).unwrap();
    let large = |timeout_ms| {
        let (fetcher, call) = (fetcher.clone(), FetchCall { timeout_ms, ..get(stuck.url("/")) });
        tokio::spawn(async move { fetcher.fetch(call).await })
    };
    let first = large(20_000);
    // Has nothing to do but wait for the first one's share.
    fails(large(300).await.unwrap(), "timeout", &["while reading the body"]);
    assert_eq!(fetcher.fetch(get(small.url("localhost", "/"))).await.unwrap().body.len(), 20_000);
    assert!(!first.is_finished());
}
