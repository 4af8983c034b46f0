//! Who may be fetched: hosts of the definition anywhere, others only where it is public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::support::{Server, fails, fetcher, fetcher_with_hosts, get, page, redirect, text};
use runlet_fetch::{Config, ConfigError, Fetcher};
use runlet_proto::call::FetchCall;

/// A call whose host came out of a template.
fn templated(url: String) -> FetchCall {
    FetchCall { literal_hosts: Vec::new(), ..get(url) }
}

#[tokio::test]
async fn a_host_of_the_definition_may_be_private_a_templated_one_not() {
    let server = Server::start(|_| page("hello")).await;
    let fetcher = fetcher();
    for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]"] {
        let url = server.url(host, "/");
        let literal = host.trim_matches(['[', ']']).to_owned();
        let reply = fetcher.fetch(FetchCall { literal_hosts: vec![literal], ..get(&url) }).await.unwrap();
        assert_eq!(text(&reply), "hello");
        let failure = fails(fetcher.fetch(templated(url)).await, "address-refused", &["loopback"]);
        assert!(failure.help.unwrap().contains("literally"));
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn no_notation_of_an_address_gets_through() {
    let server = Server::start(|_| page("hello")).await;
    for host in ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::ffff:7f00:1]", "127.0.0.1."] {
        let refused = fetcher().fetch(templated(server.url(host, "/"))).await;
        fails(refused, "address-refused", &["is not a public address"]);
    }
    fails(fetcher().fetch(templated("http://169.254.169.254/".to_owned())).await, "address-refused", &["metadata"]);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_connection_for_one_definition_does_not_serve_another_ones_template() {
    let server = Server::start(|_| page("hello")).await;
    let fetcher = fetcher_with_hosts();
    let url = server.url("inside.example", "/");
    let own = FetchCall { literal_hosts: vec!["inside.example".to_owned()], ..get(&url) };
    fetcher.fetch(own.clone()).await.unwrap();
    // The connection is idle now, and the pool knows it by the very host and port that is asked for.
    let refused = fetcher.fetch(templated(url)).await;
    fails(refused, "address-refused", &["inside.example", "127.0.0.1 is not a public address (loopback)"]);
    fetcher.fetch(own).await.unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn only_the_public_addresses_of_a_name_are_dialled() {
    // On both addresses; the private one stands first and must not be reached.
    let public = Server::with(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), None, |_| page("public")).await.unwrap();
    let reply = fetcher_with_hosts().fetch(templated(public.url("mixed.example", "/"))).await.unwrap();
    assert_eq!(text(&reply), "public");
}

#[tokio::test]
async fn redirects_are_checked_at_each_hop() {
    let private = Server::start(|_| page("secret")).await;
    let targets: Vec<String> =
        ["127.0.0.1", "localhost", "inside.example", "[::1]", "0x7f.1"].map(|host| private.url(host, "/")).into();
    for target in targets {
        let location = target.clone();
        let public = Ipv4Addr::new(127, 0, 0, 2);
        let public = Server::with(public.into(), None, move |_| redirect(302, &location)).await.unwrap();
        let refused = fetcher_with_hosts().fetch(templated(public.url("outside.example", "/"))).await;
        fails(refused, "address-refused", &["redirected from http://outside.example"]);
    }
    assert_eq!(private.seen().len(), 0);
}

#[tokio::test]
async fn the_operator_may_allow_a_range() {
    let server = Server::start(|_| page("hello")).await;
    let config = Config { allow: vec!["127.0.0.0/8".parse().unwrap()], ..Config::default() };
    let fetcher = Fetcher::new(config).unwrap();
    assert_eq!(text(&fetcher.fetch(templated(server.url("127.0.0.1", "/"))).await.unwrap()), "hello");
    assert_eq!(text(&fetcher.fetch(templated(server.url("localhost", "/"))).await.unwrap()), "hello");
}

#[tokio::test]
async fn ipv6_is_reached_where_there_is_ipv6() {
    let Ok(server) = Server::with(Ipv6Addr::LOCALHOST.into(), None, |_| page("six")).await else { return };
    let call = FetchCall { literal_hosts: vec!["[::1]".to_owned()], ..get(server.url("[::1]", "/")) };
    assert_eq!(text(&fetcher().fetch(call).await.unwrap()), "six");
}

#[test]
fn a_bad_configuration_is_refused_when_the_fetcher_is_made() {
    let config = Config { user_agent: "line\nbreak".to_owned(), ..Config::default() };
    assert!(matches!(Fetcher::new(config), Err(ConfigError::UserAgent(_))));
    let config = Config { ca_file: Some("/nowhere/ca.pem".into()), ..Config::default() };
    let error = Fetcher::new(config).unwrap_err().to_string();
    assert!(error.contains("/nowhere/ca.pem") && error.contains("No such file"), "{error}");
}
