//! `transform`: runs a jq program. In a worker only: it may never end.

use runlet_proto::failure::Failure;
use runlet_workflow::block::transform::Transform;
use serde_json::Value;

use crate::limits::TRANSFORMED_BYTES_MAX;
use crate::output::Output;

/// Runs the program over `input`: one output is the block's output, several are a list, none is null.
pub(crate) fn execute(config: &Transform, input: &Output) -> Result<Output, Failure> {
    let mut outputs = config
        .program
        .run(&input.to_json())
        .map_err(|error| Failure::workflow("jq", format!("the program failed: {error}")))?;
    let output = Output::json(match outputs.len() {
        0 => Value::Null,
        1 => outputs.remove(0),
        _ => Value::Array(outputs),
    });
    let bytes = output.heap_bytes();
    if bytes > TRANSFORMED_BYTES_MAX {
        let message = format!("the program's output takes {bytes} bytes; the limit is {TRANSFORMED_BYTES_MAX}");
        return Err(Failure::workflow("too-large", message).with_help("let it put out less"));
    }
    Ok(output)
}
