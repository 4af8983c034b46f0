//! A disk under the journal that is full, or fails: what is promised then, by the real binary and the errors it would get.

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use runlet_tests::host::Disk;
use runlet_tests::http::{self, Answer};
use runlet_tests::process::{Exit, Process};
use runlet_tests::runlet::{Installation, code, wait_ready};
use runlet_tests::upstream::{Gate, Page, Reply, Upstream};
use runlet_tests::wait::wait_until;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A user that owns nothing but what it is given here.
const NOBODY: u32 = 65_534;

/// The scenario as whoever runs the tests, and as nobody if that is root.
fn as_root_and_as_nobody(scenario: impl Fn(Installation)) {
    scenario(Installation::new());
    if geteuid().is_root() {
        scenario(Installation::new().of_user(NOBODY));
    }
}

fn inspect(installation: &Installation, run: &str) -> Value {
    serde_json::from_str(&installation.ok(&["inspect", run])).expect("JSON")
}

fn post(address: SocketAddr, path: &str) -> Answer {
    http::post_json(address, path, &json!({ "sum": 5 }))
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["run"].as_str().expect("an id").to_owned()
}

/// A hook of one name that is answered at once, and one whose client waits.
fn deploy(installation: &Installation, url: &str) {
    let hook = |path: &str| json!({ "type": "hook", "path": path, "methods": ["POST"] });
    let look = json!({ "id": "look", "type": "fetch", "parameter": { "url": url } });
    let large = json!({ "id": "large", "type": "transform", "parameter": { "jq": "[range(100000)]" } });
    installation.deploy("order", &json!([hook("order"), look, large]));
    installation.deploy("ask", &json!([hook("ask"), { "type": "response", "body": "said" }]));
    installation.deploy(
        "strict",
        &json!({ "durability": "strict", "blocks": [hook("strict"), { "type": "response", "body": "said" }] }),
    );
    installation.deploy(
        "light",
        &json!({ "durability": "none", "blocks": [hook("light"), { "type": "response", "body": "said" }] }),
    );
}

struct Place {
    gateway: Process,
    address: SocketAddr,
}

impl Place {
    fn new(installation: &Installation) -> Self {
        let (gateway, address) = installation.gateway();
        wait_ready(address);
        wait_until("the routes", || {
            let known = |path| http::request(address, "OPTIONS", path, &[], b"").status == 204;
            ["/hook/order", "/hook/ask", "/hook/strict", "/hook/light"].into_iter().all(known).then_some(())
        });
        Self { gateway, address }
    }
}

#[test]
fn without_space_new_runs_are_refused_and_the_others_end_and_with_it_all_is_well() {
    as_root_and_as_nobody(|installation| {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::json("1")));
        let Some((mut disk, supervisor)) = Disk::under_supervisor(&installation, &[]) else { return };
        deploy(&installation, &upstream.url());
        let place = Place::new(&installation);
        let under_way = id(&post(place.address, "/hook/order"));
        upstream.wait_asked(1);

        disk.fill();
        // The first one finds out, the others are told so.
        for (path, way) in [("/hook/order", "accepted"), ("/hook/strict", "waits"), ("/hook/ask", "waits")] {
            let answer = post(place.address, path);
            assert_eq!(answer.status, 507, "{path} {way}: {answer:?}");
            assert!(answer.text().contains("the disk is full") && answer.text().contains("runlet gc"), "{answer:?}");
        }
        assert_eq!(post(place.address, "/hook/light").text(), "said", "what is not written needs no disk");
        for arguments in [&["run", "order", "--detach"][..], &["run", "order"]] {
            let refused = installation.cli(arguments);
            refused.expect_code(code::UNREACHABLE, "a full disk");
            assert!(refused.stderr.contains("the disk is full") && refused.stderr.contains("runlet gc"), "{refused:?}");
        }
        let other = installation.write("other.json", r#"[{ "type": "transform", "parameter": { "jq": "1" } }]"#);
        let file = other.to_str().expect("text");
        for arguments in [["deploy", file], ["remove", "light"]] {
            installation.cli(&arguments).expect_code(code::UNREACHABLE, "a full disk");
        }
        assert_eq!(http::get(place.address, "/healthz").status, 200);
        assert_eq!(http::get(place.address, "/readyz").status, 200);

        // What was accepted goes on to its end, and can be looked at.
        gate.open();
        let line = installation.wait_state(&under_way, "COMPLETED");
        assert_eq!(line["workflow"], "order");
        assert_eq!(inspect(&installation, &under_way)["state"], "COMPLETED");
        assert_eq!(installation.json(&["history", "-w", "order"])[0]["id"], json!(under_way));
        assert!(installation.json(&["ps"]).as_array().is_some_and(Vec::is_empty));

        disk.make_room();
        let again = wait_until("runs to be accepted again", || {
            Some(post(place.address, "/hook/order")).filter(|answer| answer.status == 202)
        });
        let _ = installation.wait_state(&id(&again), "COMPLETED");
        for path in ["/hook/strict", "/hook/ask"] {
            assert_eq!(post(place.address, path).text(), "said", "{path}");
        }
        supervisor.signal(Signal::SIGKILL);
        let _ = supervisor.wait_exit();
        let _next = installation.supervisor();
        assert_eq!(installation.json(&["ps"]), json!([]), "all had ended");
        let history = installation.json(&["history", "-w", "order"]);
        assert_eq!(history.as_array().map(Vec::len), Some(2), "the refused ones are not there: {history}");
        assert_eq!(inspect(&installation, &under_way)["state"], "COMPLETED");
        assert!(place.gateway.is_running());
    });
}

#[test]
fn after_a_sync_that_failed_the_supervisor_ends_and_the_next_one_has_all_that_was_accepted() {
    as_root_and_as_nobody(|installation| {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::json("1")));
        let Some((mut disk, supervisor)) = Disk::under_supervisor(&installation, &[]) else { return };
        deploy(&installation, &upstream.url());
        let place = Place::new(&installation);
        let accepted: Vec<String> = (0..5).map(|_| id(&post(place.address, "/hook/order"))).collect();
        upstream.wait_asked(5);
        disk.fail_next_sync();
        let answer = post(place.address, "/hook/order");
        assert!([502, 503].contains(&answer.status), "it is not acknowledged: {answer:?}");
        let ended = supervisor.finish();
        assert_eq!(ended.exit, Exit::Code(code::JOURNAL), "{}", ended.stderr);
        assert!(ended.stderr.contains("the journal") && ended.stderr.contains("start it again"), "{}", ended.stderr);

        let _next = installation.supervisor();
        gate.open();
        for run in &accepted {
            let _ = installation.wait_state(run, "COMPLETED");
        }
        wait_ready(place.address);
        let _ = installation.wait_state(&id(&post(place.address, "/hook/order")), "COMPLETED");
    });
}

#[test]
fn what_could_not_be_written_at_the_end_is_told() {
    as_root_and_as_nobody(|installation| {
        let gate = Gate::closed();
        let held = gate.clone();
        let upstream = Upstream::http(move |_| Reply::Held(held.clone(), Page::json("1")));
        let Some((mut disk, supervisor)) = Disk::under_supervisor(&installation, &[]) else { return };
        deploy(&installation, &upstream.url());
        let run = installation.run_detached("order");
        upstream.wait_asked(1);
        disk.fill();
        gate.open();
        let _ = installation.wait_state(&run, "COMPLETED");
        supervisor.signal(Signal::SIGTERM);
        let ended = supervisor.finish();
        assert_eq!(ended.exit, Exit::Code(code::JOURNAL), "{}", ended.stderr);
        assert!(ended.stderr.contains("were not written before the journal closed"), "{}", ended.stderr);
        // Its end is not on disk, so it is made once more from where it was.
        let _next = installation.supervisor();
        let _ = installation.wait_state(&run, "COMPLETED");
        upstream.wait_asked(2);
    });
}
