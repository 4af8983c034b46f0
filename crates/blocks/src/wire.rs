//! Inputs, outputs and values of templates on their way to a worker and back: JSON travels as text.

use std::sync::Arc;

use bytes::Bytes;
use runlet_proto::failure::Failure;
use runlet_proto::worker::{Begin, Ended, Payload, Values};
use runlet_workflow::Definition;
use runlet_workflow::template::Scope;
use serde_json::Value;

use crate::execution::{Assignment, Outcome};
use crate::output::Output;

impl Output {
    /// What is sent of it.
    #[must_use]
    pub fn to_payload(&self) -> Payload {
        match self {
            Self::Json(_) => Payload::Json(self.to_json_text()),
            Self::Hook(request) => Payload::Hook(Box::new((**request).clone())),
            Self::Reply(reply) => Payload::Reply(Box::new((**reply).clone())),
        }
    }

    /// What was sent.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn from_payload(payload: Payload) -> serde_json::Result<Self> {
        Ok(match payload {
            Payload::Json(text) => Self::json(serde_json::from_slice(&text)?),
            Payload::Hook(request) => Self::Hook(Arc::new(*request)),
            Payload::Reply(reply) => Self::Reply(Arc::new(*reply)),
        })
    }
}

impl Outcome {
    /// What is sent of the end of an attempt.
    #[must_use]
    pub fn to_ended(result: Result<Self, Failure>) -> Ended {
        match result {
            Ok(Self::Completed(output)) => Ended::Completed(output.to_payload()),
            Ok(Self::Skipped) => Ended::Skipped,
            Err(failure) => Ended::Failed(failure),
        }
    }

    /// What was sent. An output that is no JSON is a failure of the worker that sent it.
    ///
    /// # Errors
    /// The attempt's own failure, or one that says what was wrong with what was sent.
    pub fn from_ended(ended: Ended) -> Result<Self, Failure> {
        match ended {
            Ended::Completed(payload) => Output::from_payload(payload).map(Self::Completed).map_err(|error| {
                Failure::workflow("worker-protocol", format!("the worker sent an output that is no JSON: {error}"))
            }),
            Ended::Skipped => Ok(Self::Skipped),
            Ended::Failed(failure) => Err(failure),
        }
    }
}

impl Assignment {
    /// What was sent, to be executed.
    ///
    /// # Errors
    /// When a part of it is no JSON.
    pub fn from_begin(definition: Arc<Definition>, begin: Begin) -> serde_json::Result<Self> {
        let Begin { block, attempt: _, input, scope } = begin;
        let scope = scope.as_ref().map(values_of).transpose()?;
        Ok(Self { definition, block, input: Output::from_payload(input)?, scope })
    }

    /// What is sent of the values of its templates.
    #[must_use]
    pub fn values(&self) -> Option<Values> {
        self.scope.as_ref().map(|scope| Values {
            input: text(&scope.input),
            hook: scope.hook.as_deref().map(text),
            blocks: scope.blocks.iter().map(|(id, output)| (id.to_string(), text(output))).collect(),
            run: text(&scope.run),
        })
    }
}

fn text(value: &Value) -> Bytes {
    serde_json::to_vec(value).expect("a JSON value has text keys and finite numbers").into()
}

fn values_of(values: &Values) -> serde_json::Result<Scope> {
    let value = |text: &Bytes| serde_json::from_slice(text).map(Arc::new);
    Ok(Scope {
        input: value(&values.input)?,
        hook: values.hook.as_ref().map(value).transpose()?,
        blocks: values
            .blocks
            .iter()
            .map(|(id, text)| Ok((Arc::from(&**id), value(text)?)))
            .collect::<serde_json::Result<_>>()?,
        run: value(&values.run)?,
        item: None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_arrives_is_what_was_sent() {
        for output in [
            Output::json(json!({"a": [1, 2.5, null, "ä"]})),
            Output::Reply(Arc::new(runlet_proto::hook::HttpReply { status: 204, headers: vec![], body: Bytes::new() })),
        ] {
            assert_eq!(Output::from_payload(output.to_payload()).unwrap(), output);
        }
    }

    #[test]
    fn an_output_that_is_no_json_is_the_workers_fault() {
        let ended = Ended::Completed(Payload::Json(Bytes::from_static(b"{")));
        assert_eq!(Outcome::from_ended(ended).unwrap_err().code, "worker-protocol");
    }
}
