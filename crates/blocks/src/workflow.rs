//! `workflow`: a run of another workflow.

use bytes::Bytes;
use runlet_proto::call::WorkflowCall;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;
use runlet_workflow::block::workflow::Workflow;
use serde_json::json;

use crate::output::Output;

/// The call.
pub(crate) fn call(config: &Workflow, input: &Output) -> WorkflowCall {
    call_of(config, input.to_json_text())
}

/// The call with this input.
pub(crate) fn call_of(config: &Workflow, input: Bytes) -> WorkflowCall {
    WorkflowCall { workflow: config.name.clone(), input, wait: config.wait }
}

/// The output: the run's, or its id if it was not waited for.
pub(crate) fn finish(run: RunId, output: Option<&[u8]>) -> Result<Output, Failure> {
    match output {
        None => Ok(Output::json(json!({ "run": run.to_string() }))),
        Some(text) => serde_json::from_slice(text)
            .map(Output::json)
            .map_err(|error| Failure::workflow("workflow", format!("the output of run {run} is no JSON: {error}"))),
    }
}
