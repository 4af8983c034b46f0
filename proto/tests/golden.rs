//! Golden vectors: the bytes of every variant of every message, so that no change of the wire goes unseen.
//!
//! `golden.txt` holds one line per sample: its name and its bytes in hexadecimal. A variant that is appended to an enum
//! needs a sample here and a line there: `RUNLET_WRITE_GOLDEN=1 cargo test -p runlet-proto --test golden` writes the file.
//! A line that *changes* means that an older process would misread a newer one: raise `hello::WIRE_VERSION`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod samples;

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::path::Path;

use runlet_proto::codec::{decode, encode_frame};
use runlet_proto::control::{ClientMessage, Request, ServerMessage};
use runlet_proto::frame::HEADER_BYTES;
use runlet_proto::hello::{Hello, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The lines as they are now, in order.
#[derive(Default)]
struct Vectors(Vec<(String, Vec<u8>)>);

impl Vectors {
    /// One sample for each variant of an enum, in the order of the variants, and none missing.
    fn variants<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, samples: &[T]) {
        let name = short_name::<T>();
        assert_eq!(samples.len(), variants_of::<T>(), "{name} has a variant without a sample");
        for (index, sample) in samples.iter().enumerate() {
            let payload = self.record(&format!("{name}.{index}"), sample);
            let tag = u32::from_le_bytes(*payload.first_chunk().unwrap());
            assert_eq!(tag as usize, index, "the samples of {name} stand in the order of its variants: {sample:?}");
        }
    }

    /// One message that is not an enum.
    fn message<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, sample: &T) {
        self.record(short_name::<T>(), sample);
    }

    fn record<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, sample: &T) -> Vec<u8> {
        let mut frame = Vec::new();
        encode_frame(sample, &mut frame).unwrap();
        let payload = frame.split_off(HEADER_BYTES);
        assert_eq!(u32::from_le_bytes(frame.try_into().unwrap()) as usize, payload.len());
        assert_eq!(&decode::<T>(&payload).unwrap(), sample);
        self.0.push((name.to_owned(), payload.clone()));
        payload
    }
}

fn short_name<T>() -> &'static str {
    std::any::type_name::<T>().rsplit("::").next().unwrap()
}

/// How many variants an enum has, by the word of its own decoder, which names the range it knows.
fn variants_of<T: DeserializeOwned + Debug>() -> usize {
    let error = decode::<T>(&u32::MAX.to_le_bytes()).unwrap_err().to_string();
    let (_, after) = error.split_once("0 <= i < ").unwrap_or_else(|| panic!("no range in `{error}`"));
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn vectors() -> Vectors {
    let mut vectors = Vectors::default();
    vectors.message(&Hello::new(Role::Gateway));
    vectors.message(&ClientMessage { id: 0x0102_0304_0506_0708, request: Request::Status });
    vectors.message(&ServerMessage { id: 2, reply: samples::replies().swap_remove(1) });
    vectors.variants(&samples::roles());
    vectors.variants(&samples::requests());
    vectors.variants(&samples::replies());
    vectors.variants(&samples::targets());
    vectors.variants(&samples::signals());
    vectors.variants(&samples::refusal_kinds());
    vectors.variants(&samples::run_event_kinds());
    vectors.variants(&samples::log_levels());
    vectors.variants(&samples::trace_whats());
    vectors.variants(&samples::trace_outcomes());
    vectors.variants(&samples::metric_units());
    vectors.variants(&samples::metric_kinds());
    vectors.variants(&samples::metric_values());
    vectors.variants(&samples::run_states());
    vectors.variants(&samples::block_statuses());
    vectors.variants(&samples::lanes());
    vectors.variants(&samples::responds());
    vectors.variants(&samples::on_disconnects());
    vectors.variants(&samples::hook_answers());
    vectors.variants(&samples::failure_classes());
    vectors.variants(&samples::calls());
    vectors.variants(&samples::answers());
    vectors.variants(&samples::memory_ops());
    vectors.variants(&samples::memory_replies());
    vectors.variants(&samples::acknowledges());
    vectors.variants(&samples::memory_questions());
    vectors.variants(&samples::memory_found());
    vectors.variants(&samples::bodies());
    vectors.variants(&samples::body_forms());
    vectors.variants(&samples::to_worker());
    vectors.variants(&samples::from_worker());
    vectors.variants(&samples::ended());
    vectors.variants(&samples::payloads());
    vectors.variants(&samples::forked());
    vectors.message(&runlet_proto::worker::Fork { worker: 1, task: samples::tasks().swap_remove(0), group: Some(2) });
    vectors.variants(&samples::tasks());
    vectors.variants(&samples::acts());
    vectors.variants(&samples::tried());
    vectors
}

#[test]
fn the_bytes_are_what_they_were() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden.txt");
    let now = vectors().0;
    if std::env::var_os("RUNLET_WRITE_GOLDEN").is_some() {
        let text = now.iter().fold(String::new(), |text, (name, bytes)| text + name + " " + &hex(bytes) + "\n");
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    let committed: BTreeMap<&str, &str> = committed.lines().map(|line| line.split_once(' ').unwrap()).collect();
    for (name, bytes) in &now {
        let expected = committed.get(name.as_str()).unwrap_or_else(|| panic!("no golden line for {name}"));
        assert_eq!(&hex(bytes), expected, "the bytes of {name} changed: an older process would misread a newer one");
    }
    assert_eq!(committed.len(), now.len(), "golden.txt has a line for something that is gone");
}
