//! What both stores have to do, case by case. `embedded.rs` and `redis.rs` run each as a test of its own.

pub(crate) mod bounds;
pub(crate) mod channels;
pub(crate) mod keys;
pub(crate) mod locks;
pub(crate) mod together;
pub(crate) mod tokens;
pub(crate) mod watching;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use runlet_memory::{By, Quota, SharedMemory, Token};
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_proto::memory::{
    Acknowledge, Item, LockWish, MemoryCall, MemoryFound, MemoryOp, MemoryQuestion, MemoryReply, Message, ReceiveCall,
    SendCall,
};

/// Small bounds, so that they are reached.
pub(crate) const QUOTA: Quota =
    Quota { keys_max: 40, bytes_max: 4_000, value_bytes_max: 1_000, messages_max: 5, message_bytes_max: 1_500 };

/// Longest wait for what comes by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Lets the store's time go by.
pub(crate) type Pass = Box<dyn Fn(u64) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A store, and names that are nobody else's.
pub(crate) struct World<S> {
    pub(crate) store: S,
    pub(crate) name: String,
    pass: Pass,
}

static RUNS: AtomicU64 = AtomicU64::new(1);

impl<S: SharedMemory + Clone> World<S> {
    pub(crate) fn new(store: S, pass: Pass) -> Arc<Self> {
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { store, name: format!("t{}-{number}", std::process::id()), pass })
    }

    /// Lets at least so many milliseconds go by.
    pub(crate) async fn pass(&self, ms: u64) {
        (self.pass)(ms).await;
    }

    /// A run that nobody knows yet.
    pub(crate) fn run(&self) -> By {
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let random: [u8; 10] = (u128::from(std::process::id()) << 64 | u128::from(number)).to_be_bytes()[6..]
            .try_into()
            .expect("ten bytes");
        By { run: Some(RunId::new(1_000 + number, &random)), token: None }
    }

    pub(crate) async fn op(&self, op: MemoryOp) -> Result<MemoryReply, Failure> {
        self.op_by(op, self.run()).await
    }

    pub(crate) async fn op_by(&self, op: MemoryOp, by: By) -> Result<MemoryReply, Failure> {
        self.store.memory(MemoryCall { namespace: self.name.clone(), op, lock: None }, by).await
    }

    pub(crate) async fn locked(
        &self,
        op: MemoryOp,
        by: By,
        ttl_ms: u64,
        timeout_ms: u64,
    ) -> Result<MemoryReply, Failure> {
        let lock = Some(LockWish { ttl_ms, timeout_ms });
        self.store.memory(MemoryCall { namespace: self.name.clone(), op, lock }, by).await
    }

    pub(crate) async fn get(&self, key: &str) -> Option<String> {
        text(&self.item(key).await)
    }

    pub(crate) async fn item(&self, key: &str) -> Option<Item> {
        value(self.op(MemoryOp::Get { key: key.to_owned() }).await.expect("a get"))
    }

    pub(crate) async fn set(&self, key: &str, json: &str) -> Item {
        self.set_for(key, json, None).await
    }

    pub(crate) async fn set_for(&self, key: &str, json: &str, ttl_ms: Option<u64>) -> Item {
        let set = MemoryOp::Set { key: key.to_owned(), value: bytes(json), ttl_ms };
        value(self.op(set).await.expect("a set")).expect("what was set")
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let list = MemoryOp::List { prefix: String::new(), after: None, limit: 1_000 };
        items(self.op(list).await.expect("a list")).0
    }

    pub(crate) async fn send(&self, json: &str) -> Result<u64, Failure> {
        self.store.send(SendCall { channel: self.name.clone(), message: bytes(json) }, self.run()).await
    }

    pub(crate) async fn receive(&self, by: By) -> Result<Message, Failure> {
        self.store.receive(self.receive_call(Some(20), 3), by).await
    }

    pub(crate) fn receive_call(&self, timeout_ms: Option<u64>, deliveries_max: u32) -> ReceiveCall {
        ReceiveCall { channel: self.name.clone(), timeout_ms, acknowledge: Acknowledge::Block, deliveries_max }
    }

    pub(crate) async fn look(&self, question: MemoryQuestion) -> MemoryFound {
        self.store.look(question).await.expect("a look")
    }

    /// Bodies of the messages that wait.
    pub(crate) async fn ready(&self) -> Vec<String> {
        let MemoryFound::Messages(found) =
            self.look(MemoryQuestion::Peek { channel: self.name.clone(), limit: 100 }).await
        else {
            panic!("messages")
        };
        found.into_iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
    }

    /// Numbers of the messages that are dead.
    pub(crate) async fn dead(&self) -> Vec<u64> {
        let question = MemoryQuestion::Dead { channel: Some(self.name.clone()), limit: 100 };
        let MemoryFound::Messages(found) = self.look(question).await else { panic!("messages") };
        found.into_iter().map(|message| message.id).collect()
    }
}

pub(crate) fn with_token(by: By, call: u32) -> By {
    By { token: Some(Token { block: 1, retries: 0, call }), ..by }
}

pub(crate) fn bytes(json: &str) -> Bytes {
    Bytes::copy_from_slice(json.as_bytes())
}

pub(crate) fn value(reply: MemoryReply) -> Option<Item> {
    match reply {
        MemoryReply::Value(item) => item,
        MemoryReply::Items { .. } => panic!("a listing"),
    }
}

pub(crate) fn text(item: &Option<Item>) -> Option<String> {
    item.as_ref().map(|item| String::from_utf8_lossy(&item.value).into_owned())
}

pub(crate) fn items(reply: MemoryReply) -> (Vec<String>, bool) {
    match reply {
        MemoryReply::Items { items, more } => (items.into_iter().map(|item| item.key).collect(), more),
        MemoryReply::Value(_) => panic!("a value"),
    }
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    result.expect_err("a failure").code
}

/// Waits for something, and not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes in time")
}

/// Calls a macro with the name of every case and its module.
macro_rules! for_each_case {
    ($each:ident) => {
        $each! {
            keys: a_key_is_read_as_it_was_written, a_key_that_is_not_there_is_nothing, a_later_set_replaces,
                versions_only_grow_also_over_deletes, versions_of_one_namespace_come_from_one_counter,
                every_kind_of_json_is_kept_as_it_was_written, what_is_no_json_is_refused, what_no_reader_can_read_is_refused, a_minus_before_zero_makes_no_float, a_bad_namespace_is_refused,
                bad_keys_are_refused, keys_may_be_any_text, a_delete_need_not_find_anything, a_take_reads_and_removes,
                a_take_of_nothing_is_nothing, numbers_are_added, a_sum_begins_at_zero, only_numbers_are_added,
                only_to_numbers_is_added, large_numbers_stay_exact, sums_that_do_not_fit_are_refused,
                floats_are_added, elements_are_appended, an_append_begins_with_an_empty_list,
                only_to_lists_is_appended, compare_and_set_creates, compare_and_set_replaces,
                compare_and_set_refuses_another_version, keys_are_listed_in_order, keys_are_listed_by_prefix,
                keys_are_listed_page_by_page, namespaces_do_not_see_each_other;
            bounds: a_key_lives_as_long_as_it_was_told, a_set_without_ttl_is_for_ever,
                adding_and_appending_keep_what_time_a_key_has, adding_may_begin_the_time_anew,
                a_ttl_of_nothing_is_refused, what_has_expired_is_not_listed, too_many_keys_are_refused,
                too_many_bytes_are_refused, a_value_may_be_too_large, what_grows_may_become_too_large,
                what_is_deleted_gives_room, what_has_expired_gives_room, a_refused_write_changes_nothing,
                a_smaller_value_is_taken_although_the_namespace_is_full;
            watching: a_watch_is_answered_at_once_if_the_version_is_another, a_watch_waits_for_a_change,
                a_watch_hears_of_a_delete, a_watch_does_not_mind_other_keys, a_watch_ends_with_its_time,
                subscribers_are_told_of_every_change, namespaces_are_told_of_with_their_sizes;
            locks: a_lock_is_had_by_one_run, a_lock_is_had_again_by_the_same_run, a_lock_is_waited_for,
                waiting_for_a_lock_ends_and_names_the_holder, a_lock_ends_with_its_time, who_lost_a_lock_is_told_once,
                a_lock_is_given_back, a_run_that_ends_gives_its_locks_back, others_cannot_give_it_back,
                without_the_lock_nothing_is_hindered, people_cannot_lock, locks_of_namespaces_are_apart,
                who_gives_up_waiting_is_not_in_the_way, a_lock_keeps_writers_apart, who_unlocks_a_lock_it_lost_is_still_told,
                a_watch_with_the_lock_waits_for_the_lock;
            channels: messages_come_in_their_order, a_message_is_received_once, a_receiver_waits,
                a_receiver_waits_no_longer_than_it_said, what_is_acknowledged_is_gone, what_is_given_back_comes_first,
                what_is_given_back_too_often_is_dead, the_dead_can_be_revived, the_dead_can_be_buried,
                looking_takes_nothing, a_full_channel_refuses, a_channel_is_bounded_in_bytes,
                what_is_acknowledged_gives_room, only_who_has_a_message_decides_about_it,
                a_run_that_ends_gives_its_messages_back, a_run_that_completes_has_its_messages_acknowledged,
                channels_are_apart, bad_messages_are_refused, people_do_not_receive,
                many_receivers_share_the_messages, who_gives_up_receiving_takes_nothing_with_it,
                channels_are_told_of_with_their_counts;
            tokens: a_repeated_addition_is_done_once, a_repeated_append_is_done_once, a_repeated_take_gives_the_same,
                a_repeated_compare_and_set_succeeds_again, a_repeated_message_is_sent_once,
                a_repeated_receive_gives_the_same_message, other_calls_are_other_calls,
                what_failed_is_done_when_it_is_repeated, an_end_forgets_the_answers;
            together: additions_of_many_are_all_there, appends_of_many_are_all_there,
                of_many_takes_one_finds_it, of_many_creations_one_succeeds, compare_and_set_is_linearizable,
                a_counter_behind_compare_and_set_is_exact, readers_never_see_an_older_version;
        }
    };
}
pub(crate) use for_each_case;
