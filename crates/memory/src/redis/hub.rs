//! Wake-ups: one connection of its own that is subscribed to what somebody here waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::{Client, RedisResult};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::limits::{CONNECT_TIMEOUT, REPEAT_FIRST, REPEAT_LAST, WAKE_UPS_MAX};

/// What was published; without, something may have been missed.
pub(super) type WakeUp = Option<Arc<[u8]>>;

/// Who is told of what.
#[derive(Debug)]
pub(super) struct Hub {
    table: Arc<Table>,
    subscribe: mpsc::Sender<(String, oneshot::Sender<()>)>,
}

/// The listeners by the channel.
#[derive(Debug, Default)]
struct Table(Mutex<HashMap<String, broadcast::Sender<WakeUp>>>);

impl Hub {
    /// Begins; it ends when the hub is dropped.
    pub(super) fn start(client: Client) -> Self {
        let table = Arc::new(Table::default());
        let (subscribe, wishes) = mpsc::channel(WAKE_UPS_MAX);
        tokio::spawn(serve(client, Arc::downgrade(&table), wishes));
        Self { table, subscribe }
    }

    /// How many listen to a channel.
    pub(super) fn listeners(&self, channel: &str) -> usize {
        let table = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(channel).map_or(0, broadcast::Sender::receiver_count)
    }

    /// Listens to a channel. When this returns the server knows, or is away; whoever waits looks again now and then.
    pub(super) async fn listen(&self, channel: &str) -> broadcast::Receiver<WakeUp> {
        let (listener, is_new) = {
            let mut table = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody has listened to these for a while.
            table.retain(|_, listeners| listeners.receiver_count() > 0);
            match table.get(channel) {
                Some(listeners) => (listeners.subscribe(), false),
                None => {
                    let (listeners, listener) = broadcast::channel(WAKE_UPS_MAX);
                    table.insert(channel.to_owned(), listeners);
                    (listener, true)
                }
            }
        };
        if is_new {
            let (done, subscribed) = oneshot::channel();
            let subscribe = async {
                if self.subscribe.send((channel.to_owned(), done)).await.is_ok() {
                    let _ = subscribed.await;
                }
            };
            let _ = timeout(CONNECT_TIMEOUT, subscribe).await;
        }
        listener
    }
}

/// Holds the connection, and another when it breaks.
async fn serve(client: Client, table: Weak<Table>, mut wishes: mpsc::Receiver<(String, oneshot::Sender<()>)>) {
    let mut pause = REPEAT_FIRST;
    // There is no connection before somebody listens.
    let Some(mut first) = wishes.recv().await else { return };
    let mut is_first = true;
    loop {
        let connected = timeout(CONNECT_TIMEOUT, client.get_async_pubsub()).await;
        if let Ok(Ok(connection)) = connected {
            pause = REPEAT_FIRST;
            let (mut sink, mut stream) = connection.split();
            if subscribe_to_all(&mut sink, &table).await.is_ok() {
                let _ = first.1.send(());
                if !is_first {
                    // What changed until now was told to nobody.
                    let Some(table) = table.upgrade() else { return };
                    table.tell_all();
                }
                loop {
                    tokio::select! {
                        message = stream.next() => {
                            let Some(message) = message else { break };
                            let Some(table) = table.upgrade() else { return };
                            let channel = message.get_channel_name();
                            let is_wanted = table.tell(channel, Some(message.get_payload_bytes().into()));
                            // Who wants it again meanwhile says so after this.
                            if !is_wanted && sink.unsubscribe(channel).await.is_err() {
                                break;
                            }
                        }
                        wish = wishes.recv() => {
                            let Some((channel, done)) = wish else { return };
                            if sink.subscribe(&channel).await.is_err() {
                                break;
                            }
                            let _ = done.send(());
                        }
                    }
                }
            }
        }
        let Some(known) = table.upgrade() else { return };
        known.tell_all();
        drop(known);
        // A wish that comes meanwhile is in the table, and met with the next connection.
        first = (String::new(), oneshot::channel().0);
        is_first = false;
        sleep(pause).await;
        pause = (pause * 2).min(REPEAT_LAST.max(Duration::from_millis(1)));
        if wishes.is_closed() {
            return;
        }
    }
}

async fn subscribe_to_all(sink: &mut redis::aio::PubSubSink, table: &Weak<Table>) -> RedisResult<()> {
    let channels: Vec<String> = table.upgrade().map_or_else(Vec::new, |table| {
        let table = table.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.keys().cloned().collect()
    });
    for channel in channels {
        sink.subscribe(&channel).await?;
    }
    Ok(())
}

impl Table {
    /// Tells who listens to a channel; false if nobody does any more.
    fn tell(&self, channel: &str, what: WakeUp) -> bool {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = table.get(channel).is_some_and(|listeners| listeners.send(what).is_ok());
        if !is_wanted {
            table.remove(channel);
        }
        is_wanted
    }

    /// The connection broke: everybody looks for itself.
    fn tell_all(&self) {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.values().for_each(|listeners| drop(listeners.send(None)));
    }
}
