//! `transform`: runs a jq program. In a worker only: it may never end.

use std::io;

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
    let bytes = json_bytes(&output);
    if bytes > TRANSFORMED_BYTES_MAX {
        let message = format!(
            "the program's output has {bytes} bytes as JSON; no block's may have more than {TRANSFORMED_BYTES_MAX}"
        );
        return Err(Failure::workflow("too-large", message).with_help("let it put out less"));
    }
    Ok(output)
}

/// How long the output is as JSON text.
fn json_bytes(output: &Output) -> usize {
    struct Counted(usize);
    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, &*output.to_json()).expect("a JSON value has text keys and finite numbers");
    counted.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_output_is_as_long_as_its_json() {
        let list: Vec<_> = (0..1_000).map(|id| json!({ "id": id, "name": "ä\n" })).collect();
        let output = Output::json(json!(list));
        assert_eq!(json_bytes(&output), output.to_json_text().len());
    }
}
