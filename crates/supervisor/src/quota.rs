//! What a workflow's `limits` say about what its runs put out: bytes of a block's output, bytes of a run's log.

use runlet_blocks::Outcome;
use runlet_proto::failure::Failure;
use runlet_proto::ids::RunId;

use crate::core::Core;
use crate::run_record::RunRecord;

impl RunRecord {
    /// The limit of its log in bytes, if it has written more than that.
    pub(crate) fn log_limit_exceeded(&self) -> Option<u64> {
        self.program.definition.limits.log_bytes.filter(|most| self.log.written_bytes() > *most)
    }
}

impl Core {
    /// The end of an attempt, or the failure that it is because its run put out too much.
    pub(crate) fn within_limits(&self, run: RunId, result: Result<Outcome, Failure>) -> Result<Outcome, Failure> {
        let Some(record) = self.runs.get(&run) else { return result };
        if let (Some(most), Ok(_)) = (record.log_limit_exceeded(), &result) {
            return Err(log_limit(most));
        }
        let Some(most) = record.program.definition.limits.output_bytes else { return result };
        match &result {
            Ok(Outcome::Completed(output)) if output.heap_bytes() as u64 > most => {
                let message = format!("the output takes {} bytes; the workflow allows {most}", output.heap_bytes());
                Err(Failure::workflow("output-limit", message)
                    .with_help("raise `limits.output` of the workflow, or let the block put out less"))
            }
            Ok(_) | Err(_) => result,
        }
    }
}

/// Of a run that has written more than it may.
pub(crate) fn log_limit(most: u64) -> Failure {
    Failure::workflow("log-limit", format!("the run has written more to its log than the {most} bytes it may"))
        .with_help("raise `limits.log` of the workflow, or let its blocks say less")
}
