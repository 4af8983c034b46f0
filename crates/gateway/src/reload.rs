//! A configuration that was read again at SIGHUP: what of it takes effect while hooks are served, and what waits for a restart.

use tokio::signal::unix::Signal;
use tracing::{error, info, warn};

use crate::config::Config;

/// Reads it each time the signal comes.
pub(crate) async fn at_each(mut hangup: Signal, mut current: Config) {
    let Some(reload) = current.reload else { return };
    while hangup.recv().await.is_some() {
        current.manager.reloading();
        let fresh = tokio::task::spawn_blocking(reload).await;
        let said = take(&mut current, fresh.unwrap_or_else(|error| Err(format!("reading it failed: {error}"))));
        current.manager.ready(&said);
    }
}

/// Takes over what can change, and tells the rest. What cannot be taken changes nothing. Returns what there is to say about it
/// in one line.
fn take(current: &mut Config, fresh: Result<Config, String>) -> String {
    let fresh = match fresh {
        Ok(fresh) => fresh,
        Err(error) => {
            error!("the configuration stays as it was, since what was read cannot be taken: {error}");
            return "the configuration stays as it was: what was read at the last reload cannot be taken".to_owned();
        }
    };
    let for_restart = needs_restart(current, &fresh);
    if let Some(set) = current.set_log_level
        && current.log_level != fresh.log_level
    {
        set(&fresh.log_level);
    }
    current.log_level = fresh.log_level;
    if for_restart.is_empty() {
        info!("the configuration was read again");
        return "the configuration was read again".to_owned();
    }
    let names = for_restart.join(", ");
    warn!("the configuration was read again; a restart is needed for: {names}");
    format!("the configuration was read again; a restart is needed for: {names}")
}

/// The options that have changed and cannot be taken over. What an operator cannot set is not among them.
fn needs_restart(current: &Config, fresh: &Config) -> Vec<&'static str> {
    [
        // A socket that was passed is wherever its unit says.
        ("listen", current.passed.is_none() && current.listen != fresh.listen),
        ("admin", current.admin != fresh.admin),
        ("socket", current.socket != fresh.socket),
        ("threads", current.threads != fresh.threads),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_taken_over_is_named_and_what_is_broken_changes_nothing() {
        let mut current = Config::new(([127, 0, 0, 1], 8080).into(), "/socket");
        let mut fresh = current.clone();
        fresh.log_level = "debug".to_owned();
        assert_eq!(take(&mut current, Ok(fresh.clone())), "the configuration was read again");
        assert_eq!(current.log_level, "debug");
        fresh.threads += 1;
        fresh.socket = "/elsewhere".into();
        assert!(take(&mut current, Ok(fresh)).ends_with("a restart is needed for: socket, threads"));
        assert!(take(&mut current, Err("line 1".to_owned())).contains("stays as it was"));
        assert_eq!(current.log_level, "debug");
    }
}
