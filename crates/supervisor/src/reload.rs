//! A configuration that was read again at SIGHUP: what of it takes effect while runs live, and what waits for a restart.

use crate::config::Config;
use crate::core::Core;
use crate::programs::Programs;

/// What was read, or why it cannot be taken.
#[derive(Debug)]
pub(crate) struct Fresh(Result<(Config, Programs), String>);

/// Reads it, and looks at the programs that it allows. Not on the loop's thread: files are read for it.
pub(crate) async fn read(reload: fn() -> Result<Config, String>) -> Fresh {
    let work = move || {
        let config = reload()?;
        let programs = Programs::load(&config.allowed).map_err(|error| error.to_string())?;
        Ok((config, programs))
    };
    Fresh(tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(format!("reading it failed: {error}"))))
}

/// Takes over what can change while runs live, and tells the rest. What cannot be taken changes nothing. Returns what there is
/// to say about it in one line.
pub(crate) fn take(core: &mut Core, current: &mut Config, fresh: Fresh) -> String {
    let (config, programs) = match fresh.0 {
        Ok(read) => read,
        Err(error) => {
            tracing::error!("the configuration stays as it was, since what was read cannot be taken: {error}");
            return "the configuration stays as it was: what was read at the last reload cannot be taken".to_owned();
        }
    };
    let for_restart = needs_restart(current, &config);
    let Config { drain, level_required, allowed, log_level, .. } = config;
    core.level_required = level_required;
    core.programs = programs;
    if let Some(set) = current.set_log_level
        && current.log_level != log_level
    {
        set(&log_level);
    }
    Config { drain, level_required, allowed, log_level, ..current.clone() }.clone_into(current);
    if for_restart.is_empty() {
        tracing::info!("the configuration was read again");
        return "the configuration was read again".to_owned();
    }
    let names = for_restart.join(", ");
    tracing::warn!("the configuration was read again; a restart is needed for: {names}");
    format!("the configuration was read again; a restart is needed for: {names}")
}

/// The options that have changed and cannot be taken over: what stands on them was made at the start.
fn needs_restart(current: &Config, fresh: &Config) -> Vec<&'static str> {
    // Every field is named: a further one is either taken over above, or asks for a restart here, or is none of an operator's.
    let Config {
        state,
        ca_file,
        slots,
        live_runs_max: _,
        heavy_memory_bytes,
        zygote: _,
        level_required: _,
        cgroup,
        worker_nice,
        allowed: _,
        retention,
        drain: _,
        passed: _,
        manager: _,
        reload: _,
        log_level: _,
        set_log_level: _,
        export: _,
        memory,
        release_memory: _,
    } = current;
    [
        ("state", *state != fresh.state),
        ("ca-file", *ca_file != fresh.ca_file),
        ("threads", *slots != fresh.slots),
        ("heavy-memory", *heavy_memory_bytes != fresh.heavy_memory_bytes),
        ("worker-nice", *worker_nice != fresh.worker_nice),
        ("cgroup", *cgroup != fresh.cgroup),
        ("memory", *memory != fresh.memory),
        ("keep", retention.age != fresh.retention.age),
        ("keep-runs", retention.runs_max != fresh.retention.runs_max),
        ("keep-bytes", retention.bytes_max != fresh.retention.bytes_max),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_at_the_start_needs_a_restart() {
        let current = Config::new("/state".into());
        let mut fresh = current.clone();
        fresh.drain *= 2;
        fresh.level_required += 1;
        fresh.log_level = "debug".to_owned();
        assert!(needs_restart(&current, &fresh).is_empty());
        fresh.heavy_memory_bytes += 1;
        fresh.state = "/elsewhere".into();
        assert_eq!(needs_restart(&current, &fresh), ["state", "heavy-memory"]);
    }
}
