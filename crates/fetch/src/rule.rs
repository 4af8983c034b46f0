//! Who may be fetched: a host that stands in the definition may be anywhere, every other host must be public.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use crate::address;

/// Where the connections of a client may lead. Each reach has its own connection pool, so that a connection which was
/// opened for a host of one definition's author is never lent to a host out of another one's template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To any address: the author of the definition wrote the host down.
    Anywhere,
    /// To public addresses and to those the operator allows.
    Public,
}

/// The operator's part of the rule.
#[derive(Debug)]
pub(crate) struct AddressRule {
    allow: Vec<IpNet>,
}

/// An address that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} is not a public address ({why})")]
pub(crate) struct Refused {
    /// The address.
    pub(crate) address: IpAddr,
    /// What it is.
    pub(crate) why: &'static str,
}

impl AddressRule {
    pub(crate) fn new(allow: Vec<IpNet>) -> Self {
        Self { allow }
    }

    /// Checks one address about to be dialled for a host that must be public.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), Refused> {
        // An IPv4 address in IPv6 clothes is still that IPv4 address for the operator's list.
        let plain = address.to_canonical();
        match address::not_public(address) {
            Some(why) if !self.allow.iter().any(|net| net.contains(&plain)) => Err(Refused { address, why }),
            Some(_) | None => Ok(()),
        }
    }

    /// Decides for a URL's host; an address written into the URL is checked here, since no resolver will see it.
    pub(crate) fn judge(&self, url: &Url, literal_hosts: &[String]) -> Result<Reach, Refused> {
        if is_literal(url, literal_hosts) {
            return Ok(Reach::Anywhere);
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(address.into())?,
            Some(Host::Ipv6(address)) => self.check(address.into())?,
            Some(Host::Domain(_)) | None => {}
        }
        Ok(Reach::Public)
    }
}

/// Whether the URL's host stands in the list. Written differently (`127.1`, `[::0:1]`, a final dot) it is still the same.
fn is_literal(url: &Url, literal_hosts: &[String]) -> bool {
    let Some(host) = url.host_str() else { return false };
    literal_hosts.iter().any(|literal| literal == host)
        || literal_hosts.iter().any(|literal| {
            let parsed = match literal.parse() {
                Ok(address) => Ok(Host::Ipv6(address)),
                Err(_) => Host::parse(literal),
            };
            match (parsed, url.host()) {
                (Ok(Host::Domain(a)), Some(Host::Domain(b))) => without_final_dot(&a) == without_final_dot(b),
                (Ok(Host::Ipv4(a)), Some(Host::Ipv4(b))) => a == b,
                (Ok(Host::Ipv6(a)), Some(Host::Ipv6(b))) => a == b,
                (_, _) => false,
            }
        })
}

fn without_final_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    fn judge(url: &str, literal: &[&str], allow: &[&str]) -> Result<Reach, Refused> {
        let literal: Vec<String> = literal.iter().map(|&host| host.to_owned()).collect();
        AddressRule::new(allow.iter().map(|net| net.parse().unwrap()).collect())
            .judge(&Url::parse(url).unwrap(), &literal)
    }

    #[test]
    fn literal_hosts_reach_anywhere_however_they_are_written() {
        for (url, literal) in [
            ("http://localhost:4000/", "localhost"),
            ("http://localhost./", "localhost"),
            ("http://localhost/", "localhost."),
            ("http://LOCALHOST/", "localhost"),
            ("http://127.1/", "127.0.0.1"),
            ("http://127.0.0.1/", "127.1"),
            ("http://0x7f000001/", "127.0.0.1"),
            ("http://[::1]/", "::1"),
            ("http://[::1]/", "[::1]"),
            ("http://[0:0:0:0:0:0:0:1]/", "[::1]"),
            ("http://bücher.example/", "xn--bcher-kva.example"),
            ("http://xn--bcher-kva.example/", "bücher.example"),
        ] {
            assert_eq!(judge(url, &["other", literal], &[]), Ok(Reach::Anywhere), "{url} {literal}");
        }
    }

    #[test]
    fn addresses_in_urls_are_checked_in_every_notation() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::10.0.0.1]/",
            "http://①②⑦.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://127.0.0.1./",
        ] {
            assert!(judge(url, &["localhost"], &[]).is_err(), "{url}");
        }
        assert_eq!(judge("http://8.8.8.8/", &[], &[]), Ok(Reach::Public));
        assert_eq!(judge("http://[2606:4700::1]/", &[], &[]), Ok(Reach::Public));
        assert_eq!(judge("http://example.org/", &[], &[]), Ok(Reach::Public));
    }

    #[test]
    fn the_operator_may_allow_ranges() {
        assert_eq!(judge("http://10.1.2.3/", &[], &["10.1.0.0/16"]), Ok(Reach::Public));
        assert_eq!(judge("http://[::ffff:10.1.2.3]/", &[], &["10.1.0.0/16"]), Ok(Reach::Public));
        assert!(judge("http://10.2.2.3/", &[], &["10.1.0.0/16"]).is_err());
        assert_eq!(judge("http://[fd00::1]/", &[], &["fd00::/8"]), Ok(Reach::Public));
    }
}
