//! Names to addresses: one lookup for many callers, and only addresses that the rule lets through.
//!
//! The resolver hands the connector the very addresses it checked, so an answer that changes between check and connection
//! (DNS rebinding) has no gap to slip into.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use crate::connect::{self, Phase};
use crate::limits;
use crate::rule::{AddressRule, Refused};

/// The system's resolver with a bound on the lookups at once and a memory of one burst.
#[derive(Debug)]
pub(crate) struct Names {
    fixed: BTreeMap<String, Vec<IpAddr>>,
    lookups: Semaphore,
    recent: Mutex<HashMap<Box<str>, Recent>>,
}

/// A lookup under way or just done; the cell is empty while it runs and stays empty if it fails.
#[derive(Debug)]
struct Recent {
    since: Instant,
    answer: Arc<OnceCell<Arc<[IpAddr]>>>,
}

/// A name without an address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    /// The lookup failed.
    #[error(transparent)]
    Lookup(#[from] io::Error),
    /// The lookup gave nothing.
    #[error("the name has no address")]
    NoAddress,
    /// Each address was refused; the first of them.
    #[error(transparent)]
    Refused(Refused),
}

impl Names {
    pub(crate) fn new(fixed: BTreeMap<String, Vec<IpAddr>>) -> Self {
        Self { fixed, lookups: Semaphore::new(limits::LOOKUPS_MAX), recent: Mutex::default() }
    }

    /// The addresses of a name, in the order the system prefers.
    async fn addresses(&self, name: &str) -> Result<Arc<[IpAddr]>, NameError> {
        let plain = name.strip_suffix('.').unwrap_or(name);
        if let Some(fixed) = self.fixed.get(plain) {
            return Ok(fixed.as_slice().into());
        }
        let answer = self.recent(name);
        let found = answer.get_or_try_init(|| self.look_up(name)).await?;
        Ok(Arc::clone(found))
    }

    /// The cell in which callers of the same name meet.
    fn recent(&self, name: &str) -> Arc<OnceCell<Arc<[IpAddr]>>> {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = recent.get(name)
            && now.duration_since(entry.since) < limits::NAME_KEPT
        {
            return Arc::clone(&entry.answer);
        }
        if recent.len() >= limits::NAMES_MAX {
            recent.retain(|_, entry| now.duration_since(entry.since) < limits::NAME_KEPT);
            if recent.len() >= limits::NAMES_MAX {
                recent.clear();
            }
        }
        let entry = Recent { since: now, answer: Arc::default() };
        let answer = Arc::clone(&entry.answer);
        recent.insert(name.into(), entry);
        answer
    }

    async fn look_up(&self, name: &str) -> Result<Arc<[IpAddr]>, NameError> {
        let _permit = self.lookups.acquire().await.expect("the semaphore is never closed");
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// What reqwest asks: the shared names, behind the rule of one client.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    names: Arc<Names>,
    /// `None` for hosts that their definition's author wrote down.
    rule: Option<Arc<AddressRule>>,
}

impl Resolver {
    pub(crate) fn new(names: Arc<Names>, rule: Option<Arc<AddressRule>>) -> Self {
        Self { names, rule }
    }

    /// The addresses that may be dialled; an error if there is none.
    async fn dialled(&self, name: &str) -> Result<Vec<SocketAddr>, NameError> {
        let found = self.names.addresses(name).await?;
        let mut refused = None;
        let mut dialled = Vec::with_capacity(found.len());
        for &address in found.iter() {
            match self.rule.as_ref().map_or(Ok(()), |rule| rule.check(address)) {
                Ok(()) => dialled.push(SocketAddr::new(address, 0)),
                Err(cause) => refused = refused.or(Some(cause)),
            }
        }
        match (dialled.is_empty(), refused) {
            (false, _) => Ok(dialled),
            (true, Some(cause)) => Err(NameError::Refused(cause)),
            (true, None) => Err(NameError::NoAddress),
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        let progress = connect::current();
        Box::pin(async move {
            let enter = |phase| progress.as_deref().map(|progress| progress.enter(phase));
            enter(Phase::Resolving);
            let dialled = this.dialled(name.as_str()).await?;
            enter(Phase::Connecting);
            Ok(Box::new(dialled.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    fn resolver(addresses: &[&str], guarded: bool) -> Resolver {
        let fixed = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let rule = guarded.then(|| Arc::new(AddressRule::new(Vec::new())));
        Resolver::new(Arc::new(Names::new(BTreeMap::from([("shop.example".to_owned(), fixed)]))), rule)
    }

    #[tokio::test]
    async fn only_public_addresses_are_dialled_for_a_guarded_host() {
        let dialled = resolver(&["10.0.0.1", "1.1.1.1", "::1"], true).dialled("shop.example").await.unwrap();
        assert_eq!(dialled, ["1.1.1.1:0".parse().unwrap()]);
        let open = resolver(&["10.0.0.1", "1.1.1.1"], false).dialled("shop.example.").await.unwrap();
        assert_eq!(open.len(), 2);
    }

    #[tokio::test]
    async fn a_name_without_a_usable_address_says_why() {
        let refused = resolver(&["10.0.0.1", "::1"], true).dialled("shop.example").await.unwrap_err();
        assert_eq!(refused.to_string(), "10.0.0.1 is not a public address (private)");
        let none = resolver(&[], true).dialled("shop.example").await.unwrap_err();
        assert!(matches!(none, NameError::NoAddress));
    }

    #[tokio::test]
    async fn callers_of_one_name_share_a_lookup_and_memory_stays_bounded() {
        let names = Names::new(BTreeMap::new());
        let first = names.recent("a.example");
        assert!(Arc::ptr_eq(&first, &names.recent("a.example")));
        for i in 0..3 * limits::NAMES_MAX {
            names.recent(&format!("host{i}.example"));
        }
        assert!(names.recent.lock().unwrap().len() <= limits::NAMES_MAX);
    }

    #[tokio::test]
    async fn localhost_comes_from_the_system() {
        let names = Arc::new(Names::new(BTreeMap::new()));
        let found = names.addresses("localhost").await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty());
        let guarded = Resolver::new(names, Some(Arc::new(AddressRule::new(Vec::new()))));
        assert!(matches!(guarded.dialled("localhost").await, Err(NameError::Refused(_))));
    }
}
