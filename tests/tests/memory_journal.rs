//! What the journal keeps of the embedded store.

use runlet_tests::runlet::Installation;
use runlet_tests::wait::wait_until;
use serde_json::Value;

/// Keys and messages in the journal.
fn kept(installation: &Installation) -> (Value, Value) {
    let state = installation.state();
    let report = installation.json(&["journal", "check", "--state", state.to_str().expect("text")]);
    (report["keys"].clone(), report["messages"].clone())
}

fn wait_kept(installation: &Installation, keys: u64, messages: u64) {
    wait_until("the journal to keep so much", || {
        (kept(installation) == (Value::from(keys), Value::from(messages))).then_some(())
    });
}

#[test]
fn a_key_whose_time_is_over_leaves_the_journal_and_nobody_asks_for_it() {
    let installation = Installation::new();
    let _supervisor = installation.supervisor();
    let _ = installation.ok(&["memory", "set", "prices", "stays", "1"]);
    let _ = installation.ok(&["memory", "set", "prices", "goes", "1", "--ttl", "1h"]);
    let _ = installation.ok(&["channel", "send", "mail", "1"]);
    wait_kept(&installation, 2, 1);
    let _ = installation.ok(&["memory", "set", "prices", "goes", "1", "--ttl", "50ms"]);
    wait_kept(&installation, 1, 1);
}
