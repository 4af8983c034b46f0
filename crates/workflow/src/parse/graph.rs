//! What holds between blocks: ids, dependencies, cycles, and the names templates use.

use std::collections::{HashMap, HashSet};

use super::blocks::Draft;
use super::report::{Finding, NameUse, Report};
use super::spot::clip;
use crate::block::BlockConfig;
use crate::suggest;
use crate::template::path::Root;

/// Ids and dependencies of all blocks, in definition order.
pub(crate) struct Resolved {
    pub(crate) ids: Vec<String>,
    pub(crate) dependencies: Vec<Vec<usize>>,
}

/// Resolves every reference between blocks and files what cannot be.
pub(crate) fn resolve(drafts: &[Draft], report: &mut Report<'_>) -> Resolved {
    let ids = ids(drafts, report);
    let positions: HashMap<&str, usize> = ids.iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    check_order(drafts, report);
    check_replies(drafts, report);
    check_hooks(drafts, report);
    let dependencies = dependencies(drafts, &ids, &positions, report);
    let acyclic = check_cycles(drafts, &ids, &dependencies, report);
    let uses = std::mem::take(&mut report.names);
    if !uses.is_empty() {
        let before = if acyclic { Some(ancestors(&dependencies)) } else { None };
        let hooks = Hooks::of(drafts);
        for used in uses {
            if let Some(finding) = judge(&used, &ids, &positions, before.as_deref(), &hooks) {
                report.add_at(finding, used.range, used.path);
            }
        }
    }
    Resolved { ids, dependencies }
}

/// The id of each block: as written, else its type, numbered where that is taken.
fn ids(drafts: &[Draft], report: &mut Report<'_>) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::with_capacity(drafts.len());
    for named in drafts.iter().filter_map(|draft| draft.id.as_ref()) {
        if !taken.insert(named.id.clone()) {
            let finding = Finding::new("duplicate-id", format!("two blocks have the id `{}`", clip(&named.id)));
            report.add_at(finding.help("give each block an id of its own"), named.range.clone(), named.path.clone());
        }
    }
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut ids = Vec::with_capacity(drafts.len());
    for draft in drafts {
        if let Some(named) = &draft.id {
            ids.push(named.id.clone());
            continue;
        }
        let number = numbers.entry(draft.kind.as_str()).or_insert(0);
        let id = loop {
            *number += 1;
            let id = if *number == 1 { draft.kind.clone() } else { format!("{}-{number}", draft.kind) };
            if taken.insert(id.clone()) {
                break id;
            }
        };
        ids.push(id);
    }
    ids
}

/// Hooks come first: a run begins with them.
fn check_order(drafts: &[Draft], report: &mut Report<'_>) {
    let first_other = drafts.iter().position(|draft| draft.kind != "hook").unwrap_or(drafts.len());
    for draft in drafts.iter().skip(first_other).filter(|draft| draft.kind == "hook") {
        let finding = Finding::new("hook-not-first", "a hook stands before all other blocks: it starts the run");
        report.add_at(finding.help("move it to the beginning of the list"), draft.range.clone(), draft.path.clone());
    }
}

/// A run has one reply: of several responses, all but one must be conditional.
fn check_replies(drafts: &[Draft], report: &mut Report<'_>) {
    let unconditional = drafts.iter().filter(|draft| draft.kind == "response" && !draft.conditional);
    for draft in unconditional.skip(1) {
        let finding = Finding::new("second-response", "a run has one reply, and another `response` always gives it");
        let help = "keep one of them, or give them conditions with `when`";
        report.add_at(finding.help(help), draft.range.clone(), draft.path.clone());
    }
    for draft in drafts.iter().filter(|draft| draft.kind == "response" && draft.for_each.is_some()) {
        let finding = Finding::new("invalid-field", "a run has one reply, `for_each` would give many");
        report.add_at(finding.help("let the block before it collect them"), draft.range.clone(), draft.path.clone());
    }
}

/// Two hooks of one workflow must not match the same request.
fn check_hooks(drafts: &[Draft], report: &mut Report<'_>) {
    let hooks: Vec<_> = drafts
        .iter()
        .filter_map(|draft| match &draft.config {
            // Without a path there was a finding already.
            Some(BlockConfig::Hook(hook)) if !hook.path.is_empty() => Some((draft, hook)),
            Some(
                BlockConfig::Hook(_)
                | BlockConfig::Fetch(_)
                | BlockConfig::HtmlScraper(_)
                | BlockConfig::Transform(_)
                | BlockConfig::Exec(_)
                | BlockConfig::Workflow(_)
                | BlockConfig::Memory(_)
                | BlockConfig::Send(_)
                | BlockConfig::Receive(_)
                | BlockConfig::Response(_),
            )
            | None => None,
        })
        .collect();
    let mut by_pattern: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, (draft, hook)) in hooks.iter().enumerate() {
        let same = by_pattern.entry(hook.pattern()).or_default();
        if same.iter().any(|&earlier| hooks[earlier].1.overlaps(hook)) {
            let finding =
                Finding::new("hook-conflict", format!("another hook of this workflow answers `{}` too", hook.path));
            report.add_at(
                finding.help("give them different paths or methods"),
                draft.range.clone(),
                draft.path.clone(),
            );
        }
        same.push(index);
    }
}

fn dependencies(
    drafts: &[Draft],
    ids: &[String],
    positions: &HashMap<&str, usize>,
    report: &mut Report<'_>,
) -> Vec<Vec<usize>> {
    let known: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut all = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter().enumerate() {
        let Some(named) = &draft.dependencies else {
            let previous = index.checked_sub(1).filter(|_| draft.kind != "hook");
            all.push(previous.into_iter().collect());
            continue;
        };
        let mut found = Vec::with_capacity(named.len());
        for name in named {
            match positions.get(name.id.as_str()) {
                Some(&position) if position == index => {
                    let finding = Finding::new("cycle", "the block depends on itself");
                    report.add_at(finding, name.range.clone(), name.path.clone());
                }
                Some(&position) => found.push(position),
                None => {
                    let finding = Finding::new("unknown-dependency", format!("there is no block `{}`", clip(&name.id)));
                    let finding = finding.help_if(suggest::help(&name.id, &known));
                    report.add_at(finding, name.range.clone(), name.path.clone());
                }
            }
        }
        all.push(found);
    }
    all
}

/// Files each cycle once, at a dependency that closes it. Without recursion: a definition may be a chain of all its blocks.
fn check_cycles(drafts: &[Draft], ids: &[String], dependencies: &[Vec<usize>], report: &mut Report<'_>) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnTrail,
        Done,
    }
    let mut marks = vec![Mark::New; dependencies.len()];
    let mut acyclic = true;
    for start in 0..dependencies.len() {
        if marks[start] != Mark::New {
            continue;
        }
        let mut trail = vec![(start, 0)];
        marks[start] = Mark::OnTrail;
        while let Some((block, next)) = trail.last_mut() {
            let (block, position) = (*block, *next);
            *next += 1;
            match dependencies[block].get(position) {
                None => {
                    marks[block] = Mark::Done;
                    trail.pop();
                }
                Some(&dependency) if marks[dependency] == Mark::New => {
                    marks[dependency] = Mark::OnTrail;
                    trail.push((dependency, 0));
                }
                Some(&dependency) if marks[dependency] == Mark::OnTrail => {
                    acyclic = false;
                    let from = trail.iter().position(|(on, _)| *on == dependency).unwrap_or(0);
                    let mut names: Vec<&str> = trail[from..].iter().map(|(on, _)| ids[*on].as_str()).collect();
                    names.push(ids[dependency].as_str());
                    report_cycle(&drafts[block], &names, report);
                }
                Some(_) => {}
            }
        }
    }
    acyclic
}

fn report_cycle(draft: &Draft, names: &[&str], report: &mut Report<'_>) {
    const NAMES_SHOWN_MAX: usize = 10;
    let mut shown: Vec<String> = names.iter().take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    if names.len() > NAMES_SHOWN_MAX {
        shown.push("…".to_owned());
    }
    let finding = Finding::new("cycle", format!("blocks wait for each other: {}", shown.join(" waits for ")))
        .help("take one of these dependencies away");
    let last = names.last().copied().unwrap_or_default();
    let at = draft.dependencies.iter().flatten().find(|named| named.id == last);
    match at {
        Some(named) => report.add_at(finding, named.range.clone(), named.path.clone()),
        None => report.add_at(finding, draft.range.clone(), draft.path.clone()),
    }
}

/// For each block, the set of blocks that are done before it starts. The dependencies have no cycle.
fn ancestors(dependencies: &[Vec<usize>]) -> Vec<Vec<u64>> {
    let words = dependencies.len().div_ceil(64);
    let mut sets: Vec<Option<Vec<u64>>> = vec![None; dependencies.len()];
    for start in 0..dependencies.len() {
        let mut trail = vec![start];
        while let Some(&block) = trail.last() {
            if sets[block].is_some() {
                trail.pop();
                continue;
            }
            let waiting: Vec<usize> = dependencies[block].iter().copied().filter(|&d| sets[d].is_none()).collect();
            if !waiting.is_empty() {
                trail.extend(waiting);
                continue;
            }
            let mut set = vec![0_u64; words];
            for &dependency in &dependencies[block] {
                set[dependency / 64] |= 1 << (dependency % 64);
                for (word, more) in set.iter_mut().zip(sets[dependency].iter().flatten()) {
                    *word |= more;
                }
            }
            sets[block] = Some(set);
            trail.pop();
        }
    }
    sets.into_iter().map(Option::unwrap_or_default).collect()
}

/// What templates can name of the hooks.
struct Hooks<'a> {
    any: bool,
    /// The parameters of all their paths; `None` if one of them could not be read.
    params: Option<Vec<&'a str>>,
}

impl<'a> Hooks<'a> {
    fn of(drafts: &'a [Draft]) -> Self {
        let hooks = || drafts.iter().filter(|draft| draft.kind == "hook");
        let path = |draft: &'a Draft| match &draft.config {
            Some(BlockConfig::Hook(hook)) if !hook.path.is_empty() => Some(hook.path.as_str()),
            _ => None,
        };
        let paths: Option<Vec<&str>> = hooks().map(path).collect();
        let params = |paths: Vec<&'a str>| {
            paths.iter().flat_map(|path| path.split('/')).filter_map(|segment| segment.strip_prefix(':')).collect()
        };
        Self { any: hooks().next().is_some(), params: paths.map(params) }
    }

    /// What is wrong with the name of a parameter, if anything.
    fn judge(&self, param: &str) -> Option<Finding> {
        let known = self.params.as_ref().filter(|known| !known.contains(&param))?;
        let finding = Finding::new("unknown-name", format!("no hook's path has a parameter `:{}`", clip(param)));
        Some(match known.is_empty() {
            true => finding
                .help(format!("a parameter is a segment of the path, such as \"path\": \"things/:{}\"", clip(param))),
            false => finding.help_if(suggest::help(param, known)),
        })
    }
}

/// What is wrong with a name in a template, if anything.
fn judge(
    used: &NameUse,
    ids: &[String],
    positions: &HashMap<&str, usize>,
    ancestors: Option<&[Vec<u64>]>,
    hooks: &Hooks<'_>,
) -> Option<Finding> {
    match &used.root {
        Root::Input | Root::Run => None,
        Root::Hook if hooks.any => hooks.judge(used.param.as_deref()?),
        Root::Hook => Some(
            Finding::new("unknown-name", "`hook` is the request that started the run, and this workflow has no hook")
                .help("add a `hook` block, or take the value from `input`"),
        ),
        Root::Item | Root::Index if used.per_element => None,
        Root::Item | Root::Index => Some(
            Finding::new("unknown-name", "`item` and `index` exist only where a block runs for each element")
                .help("they can be used under `parameter` of a block with `for_each`"),
        ),
        Root::Block(id) => {
            let Some(&position) = positions.get(&**id) else {
                let known: Vec<&str> = ids.iter().map(String::as_str).collect();
                let finding = Finding::new("unknown-name", format!("there is no block `{}`", clip(id)));
                return Some(finding.help_if(suggest::help(id, &known)));
            };
            let done_before = ancestors?.get(used.block)?.get(position / 64)? & (1 << (position % 64)) != 0;
            (!done_before).then(|| {
                let own = position == used.block;
                let message = if own {
                    "a block cannot use its own output".to_owned()
                } else {
                    format!("block `{id}` is not done when this one starts")
                };
                let finding = Finding::new("not-before", message);
                if own { finding } else { finding.help(format!("add \"{id}\" to its `dependencies`")) }
            })
        }
    }
}
