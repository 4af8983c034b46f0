//! Hostile bytes: whatever arrives, decoding gives an error, never a panic and never an allocation beyond what arrived.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use proptest::prelude::*;
use runlet_proto::call::{Answer, Call, FetchReply};
use runlet_proto::codec::{DecodeError, EncodeError, decode, encode_frame};
use runlet_proto::control::{ClientMessage, Reply, Request, ServerMessage};
use runlet_proto::failure::Failure;
use runlet_proto::frame::{FRAME_BYTES_MAX, HEADER_BYTES, header, payload_bytes};
use runlet_proto::hello::Hello;
use runlet_proto::hook::{HookAnswer, HookRequest, HttpReply, Respond, RouteTable};
use runlet_proto::ids::{Priority, RunId};
use runlet_proto::worker::{Forked, FromWorker, ToWorker};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The system's allocator, with a note of the biggest request and of the sum of all requests of this thread.
struct Counting;

thread_local! {
    static BIGGEST_BYTES: Cell<usize> = const { Cell::new(0) };
    static TOTAL_BYTES: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    // During a thread's end the counters may be gone; nothing is measured there.
    let _ = BIGGEST_BYTES.try_with(|biggest| biggest.set(biggest.get().max(bytes)));
    let _ = TOTAL_BYTES.try_with(|total| total.set(total.get() + bytes));
}

// SAFETY: every call goes to the system's allocator unchanged; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Biggest single allocation a payload may cause: what `decode` promises, and for the texts of error messages and for
/// elements that are larger in memory than on the wire some times its own size.
fn bound(payload_bytes: usize) -> usize {
    1024 * 1024 + 64 * payload_bytes
}

/// The decoded message, and the biggest single allocation it took, in bytes.
fn measured<T: DeserializeOwned>(payload: &[u8]) -> (Result<T, DecodeError>, usize) {
    BIGGEST_BYTES.set(0);
    let result = decode::<T>(payload);
    (result, BIGGEST_BYTES.get())
}

/// Feeds the payload to every type that opens a frame or holds much of one.
fn decode_as_everything(payload: &[u8]) {
    fn one<T: DeserializeOwned>(payload: &[u8]) {
        let (_, biggest) = measured::<T>(payload);
        assert!(biggest <= bound(payload.len()), "{biggest} bytes for {} of payload", payload.len());
    }
    one::<Hello>(payload);
    one::<ClientMessage>(payload);
    one::<ServerMessage>(payload);
    one::<Request>(payload);
    one::<Reply>(payload);
    one::<Call>(payload);
    one::<Answer>(payload);
    one::<Failure>(payload);
    one::<RouteTable>(payload);
    one::<HookRequest>(payload);
    one::<HookAnswer>(payload);
    one::<FetchReply>(payload);
    one::<ToWorker>(payload);
    one::<FromWorker>(payload);
    one::<Forked>(payload);
}

fn hook_request() -> ClientMessage {
    let request = HookRequest {
        workflow: "shop".into(),
        respond: Respond::WhenDone,
        method: "POST".into(),
        path: "/hook/shop/7".into(),
        params: vec![("id".into(), "7".into())],
        query: "a=b".into(),
        headers: vec![("host".into(), "localhost".into()), ("accept".into(), "*/*".into())],
        body: bytes::Bytes::from_static(b"{\"n\":1}"),
    };
    ClientMessage { id: 9, request: Request::Hook(request) }
}

fn hook_reply() -> ServerMessage {
    let headers = vec![("content-type".into(), "application/json".into())];
    let reply = HttpReply { status: 200, headers, body: bytes::Bytes::from_static(b"{}") };
    ServerMessage { id: 1, reply: Reply::Hook(HookAnswer::Reply(reply.into())) }
}

fn payload_of<T: Serialize>(message: &T) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(message, &mut frame).unwrap();
    frame.split_off(HEADER_BYTES)
}

#[test]
fn a_length_over_the_limit_is_refused() {
    assert_eq!(payload_bytes(header(FRAME_BYTES_MAX).unwrap()).unwrap(), FRAME_BYTES_MAX);
    assert_eq!(header(FRAME_BYTES_MAX + 1).unwrap_err().announced_bytes, FRAME_BYTES_MAX as u64 + 1);
    let announced = u32::try_from(FRAME_BYTES_MAX).unwrap() + 1;
    assert!(payload_bytes(announced.to_le_bytes()).is_err());
    assert!(payload_bytes(u32::MAX.to_le_bytes()).is_err());
}

#[test]
fn a_message_over_the_limit_is_refused_and_leaves_the_buffer_as_it_was() {
    let mut buffer = vec![1, 2, 3];
    let error = encode_frame(&"x".repeat(FRAME_BYTES_MAX), &mut buffer).unwrap_err();
    assert!(matches!(error, EncodeError::TooLong(_)), "{error}");
    assert_eq!(buffer, [1, 2, 3]);
}

#[test]
fn a_type_the_codec_cannot_carry_is_refused_and_leaves_the_buffer_as_it_was() {
    /// Serialises as a map of unknown length, as a struct with a flattened field does.
    struct Flattened;
    impl Serialize for Flattened {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeMap;
            serializer.serialize_map(None)?.end()
        }
    }
    let mut buffer = vec![1, 2, 3];
    assert!(matches!(encode_frame(&Flattened, &mut buffer), Err(EncodeError::Unsupported(_))));
    assert_eq!(buffer, [1, 2, 3]);
}

#[test]
fn a_length_beyond_the_frame_is_an_error_without_a_big_allocation() {
    for length in [5u64, 1 << 20, 1 << 24, 1 << 32, 1 << 62, u64::MAX] {
        let mut payload = length.to_le_bytes().to_vec();
        payload.extend_from_slice(b"four");
        let (text, biggest) = measured::<String>(&payload);
        assert!(text.is_err() && biggest <= bound(12), "{length}: {biggest}");
        let (list, biggest) = measured::<Vec<(String, String)>>(&payload);
        assert!(list.is_err() && biggest <= bound(12), "{length}: {biggest}");
        let (bytes, biggest) = measured::<bytes::Bytes>(&payload);
        assert!(bytes.is_err() && biggest <= bound(12), "{length}: {biggest}");
    }
}

#[test]
fn a_message_as_large_as_its_limit_is_decoded() {
    for payload_bytes in [0x1000, 0x1001, 0x1_0000, 0x1_0001, 0x10_0000, 0x10_0001, FRAME_BYTES_MAX] {
        let text = "x".repeat(payload_bytes - 8);
        let payload = payload_of(&text);
        assert_eq!(payload.len(), payload_bytes);
        assert_eq!(decode::<String>(&payload).unwrap(), text);
    }
}

#[test]
fn an_unknown_variant_is_an_error() {
    for variant in [1_000u32, u32::MAX] {
        let mut payload = 7u64.to_le_bytes().to_vec();
        payload.extend_from_slice(&variant.to_le_bytes());
        payload.extend_from_slice(&[0; 64]);
        assert!(matches!(decode::<ClientMessage>(&payload), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<ServerMessage>(&payload), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<Call>(&payload[8..]), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<Answer>(&payload[8..]), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<HookAnswer>(&payload[8..]), Err(DecodeError::Malformed(_))));
    }
}

#[test]
fn values_out_of_their_range_are_errors() {
    assert!(decode::<Priority>(&[10]).is_err());
    assert!(decode::<bool>(&[2]).is_err());
    assert!(decode::<Option<u8>>(&[2, 0]).is_err());
    assert!(decode::<String>(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).is_err(), "not UTF-8");
    assert!(decode::<RunId>(&[0; 15]).is_err());
}

#[test]
fn bytes_after_a_message_are_an_error() {
    let mut payload = payload_of(&Request::Status);
    payload.push(0);
    assert!(matches!(decode::<Request>(&payload), Err(DecodeError::Trailing(1))));
}

#[test]
fn every_half_of_a_message_is_an_error() {
    let payload = payload_of(&hook_reply());
    assert_eq!(decode::<ServerMessage>(&payload).unwrap(), hook_reply());
    for end in 0..payload.len() {
        assert!(decode::<ServerMessage>(&payload[..end]).is_err(), "the first {end} bytes");
    }
}

#[test]
fn no_message_type_nests_without_end() {
    // A recursive type would let a megabyte of "one level deeper" overflow the stack. None of ours recurses, so bytes that
    // mean "first variant, again" or "present, again" end at a fixed depth: with an error, or with bytes left over.
    for byte in [0u8, 1] {
        decode_as_everything(&vec![byte; 1 << 20]);
    }
}

#[test]
fn many_small_elements_cost_no_more_than_the_frame_allows() {
    // The worst amplification there is: an empty string is eight bytes on the wire and a `String` of 24 in memory.
    let mut payload = 100_000u64.to_le_bytes().to_vec();
    payload.extend(std::iter::repeat_n(0u8, 800_000));
    TOTAL_BYTES.set(0);
    let (list, biggest) = measured::<Vec<String>>(&payload);
    assert_eq!(list.unwrap().len(), 100_000);
    assert!(biggest <= bound(payload.len()), "{biggest}");
    assert!(TOTAL_BYTES.get() <= 12 * payload.len(), "{}", TOTAL_BYTES.get());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_never_a_panic(payload in proptest::collection::vec(any::<u8>(), 0..600)) {
        decode_as_everything(&payload);
    }

    // Small numbers are variants and lengths that exist: they reach deeper.
    #[test]
    fn random_small_bytes_are_never_a_panic(payload in proptest::collection::vec(0u8..4, 0..600)) {
        decode_as_everything(&payload);
    }

    #[test]
    fn a_real_message_with_bytes_changed_is_never_a_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for mut payload in [payload_of(&hook_request()), payload_of(&hook_reply())] {
            for (index, value) in &changes {
                let at = index.index(payload.len());
                payload[at] = *value;
            }
            decode_as_everything(&payload);
        }
    }
}
