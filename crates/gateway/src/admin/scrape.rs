//! Asks the supervisor for its numbers, over a connection of its own: what is measured must not wait behind hooks.

use std::path::Path;
use std::sync::Arc;

use runlet_ipc::connect;
use runlet_proto::control::{ClientMessage, Reply, Request, ServerMessage};
use runlet_proto::hello::Role;
use runlet_proto::metrics::{MetricFamily, MetricKind, MetricSample, MetricUnit, MetricValue};

use crate::counters::{Counters, Totals};

/// The supervisor's numbers.
///
/// # Errors
/// Why there are none, in words.
pub(super) async fn of_supervisor(socket: &Path) -> Result<Vec<MetricFamily>, String> {
    let (mut reader, mut writer) = connect(socket, Role::Gateway).await.map_err(|error| error.to_string())?;
    let message = ClientMessage { id: 1, request: Request::Metrics };
    writer.send(&message).await.map_err(|error| error.to_string())?;
    let message = reader.next::<ServerMessage>().await.map_err(|error| error.to_string())?;
    let reply = message.ok_or("it closed the connection")?.reply;
    if let Reply::Metrics(families) = reply {
        Ok(families)
    } else if let Reply::Refused(refusal) = reply {
        Err(refusal.message)
    } else {
        Err("it sent a reply of an unexpected kind".to_owned())
    }
}

/// The gateway's own numbers.
pub(super) fn of_gateway(threads: &[Arc<Counters>], supervisor_up: bool) -> Vec<MetricFamily> {
    let mut totals = Totals::default();
    threads.iter().for_each(|thread| thread.add_to(&mut totals));
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(totals.responses);
    let classes = classes.map(|(class, count)| sample(&[("status", class)], count)).collect();
    let (counter, gauge) = (MetricKind::Counter, MetricKind::Gauge);
    vec![
        family(
            "runlet_supervisor_up",
            "Whether the supervisor told its numbers",
            gauge,
            vec![sample(&[], supervisor_up.into())],
        ),
        family("runlet_gateway_responses", "Requests that were answered, by class of status", counter, classes),
        family("runlet_gateway_connections", "Open connections", gauge, vec![sample(&[], totals.connections)]),
        family(
            "runlet_gateway_refused_connections",
            "Connections refused since too many were open",
            counter,
            vec![sample(&[], totals.refused)],
        ),
    ]
}

fn family(name: &str, help: &str, kind: MetricKind, samples: Vec<MetricSample>) -> MetricFamily {
    MetricFamily { name: name.to_owned(), help: help.to_owned(), unit: MetricUnit::None, kind, samples }
}

fn sample(labels: &[(&str, &str)], number: u64) -> MetricSample {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    MetricSample { labels, value: MetricValue::Number(number) }
}
