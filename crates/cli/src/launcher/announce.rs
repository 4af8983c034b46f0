//! What `runlet up` says when everything is up: where it is, and a line to paste for each hook.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::Serialize;

use crate::command::CommandError;
use crate::command::deploy::Deployed;
use crate::demo;
use crate::output::{self, Format};

/// Where everything is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Announcement {
    gateway: String,
    socket: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shop: Option<&'static str>,
    workflows: Vec<Workflow>,
}

#[derive(Debug, Serialize)]
struct Workflow {
    name: String,
    hooks: Vec<Hook>,
}

#[derive(Debug, Serialize)]
struct Hook {
    methods: String,
    url: String,
    curl: String,
}

impl Announcement {
    /// From the gateway's address and what was deployed.
    pub(super) fn new(address: SocketAddr, socket: &Path, shop: bool, deployed: &[Deployed]) -> Self {
        let gateway = format!("http://{}", reachable(address));
        let workflows = deployed
            .iter()
            .map(|one| Workflow {
                name: one.workflow.name.clone(),
                hooks: one.workflow.hooks.iter().map(|hook| Hook::new(&gateway, hook)).collect(),
            })
            .collect();
        Self { gateway, socket: socket.display().to_string(), shop: shop.then_some(demo::URL), workflows }
    }

    /// Prints it on stdout.
    ///
    /// # Errors
    /// [`CommandError::Output`] when stdout does not take it; a reader that left is none.
    pub(super) fn print(&self, format: Format) -> Result<(), CommandError> {
        match output::one(format, self, || self.text()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("runlet is up\n  gateway  {}\n  socket   {}\n", self.gateway, self.socket);
        if let Some(shop) = self.shop {
            let _ = writeln!(text, "  shop     {shop}");
        }
        for workflow in &self.workflows {
            let _ = writeln!(text, "\n{}", workflow.name);
            for hook in &workflow.hooks {
                let _ = writeln!(text, "  {} {}\n  {}", hook.methods, hook.url, hook.curl);
            }
            if workflow.hooks.is_empty() {
                let _ = writeln!(text, "  runlet run {}", workflow.name);
            }
        }
        if self.workflows.is_empty() {
            text.push_str("\nnothing is deployed yet: runlet deploy FILE\n");
        }
        text.push_str("\nCtrl-C stops it.\n");
        text
    }
}

impl Hook {
    /// From a summary's `GET,POST shop/:id`.
    fn new(gateway: &str, hook: &str) -> Self {
        let (methods, path) = hook.split_once(' ').unwrap_or(("ANY", hook));
        let url = format!("{gateway}/hook/{path}");
        // A parameter needs a value before the line can be pasted; 1 is one of the shop's products.
        let example: Vec<_> = path.split('/').map(|part| if part.starts_with(':') { "1" } else { part }).collect();
        let example = format!("{gateway}/hook/{}", example.join("/"));
        let listed = |method| methods.split(',').any(|one| one == method);
        let curl = if listed("ANY") || listed("GET") {
            format!("curl {example}")
        } else {
            let method = methods.split(',').next().unwrap_or("POST");
            format!("curl -X {method} --json '{{}}' {example}")
        };
        Self { methods: methods.to_owned(), url, curl }
    }
}

/// An address a client on this machine can dial: "all addresses" is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: &str = "http://127.0.0.1:8080";

    #[test]
    fn each_hook_gets_a_line_to_paste() {
        assert_eq!(Hook::new(GATEWAY, "ANY test").curl, "curl http://127.0.0.1:8080/hook/test");
        assert_eq!(Hook::new(GATEWAY, "GET,POST shop/:id").curl, "curl http://127.0.0.1:8080/hook/shop/1");
        assert_eq!(Hook::new(GATEWAY, "GET shop/:id").url, "http://127.0.0.1:8080/hook/shop/:id");
        assert_eq!(Hook::new(GATEWAY, "PUT a/b").curl, "curl -X PUT --json '{}' http://127.0.0.1:8080/hook/a/b");
    }

    #[test]
    fn all_addresses_are_announced_as_this_machine() {
        assert_eq!(reachable(([0, 0, 0, 0], 80).into()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable(([10, 0, 0, 1], 80).into()).to_string(), "10.0.0.1:80");
    }
}
