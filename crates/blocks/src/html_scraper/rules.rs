//! The rules of a block, compiled once for each version of a workflow.

use runlet_proto::failure::Failure;
use runlet_workflow::block::html_scraper::{Extract, HtmlScraper, Rule as Config};

use super::selector::Selector;

/// All rules of one block.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(super) list: Vec<Rule>,
    /// Every rule is satisfied at some point, and what comes after that cannot take it back.
    pub(super) may_stop_early: bool,
    /// Some rule reads attributes of `html` or `body`.
    pub(super) read_root_attributes: bool,
    /// Some rule looks at attributes; without one they are not even kept.
    pub(super) read_attributes: bool,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) selector_text: String,
    pub(super) selector: Selector,
    pub(super) extract: Extract,
    pub(super) offset: usize,
    pub(super) multiple: bool,
    pub(super) trim: bool,
    /// Matches after which nothing more is taken, those passed over by `offset` included; 0 when nothing is taken at
    /// all.
    pub(super) matches_max: usize,
}

impl Rules {
    /// Compiles the rules of `config`.
    ///
    /// # Errors
    /// A selector that is none, which the definition's parser should have refused.
    pub(crate) fn compile(config: &HtmlScraper) -> Result<Self, Failure> {
        let list: Vec<Rule> = config.rules.iter().map(Rule::compile).collect::<Result<_, _>>()?;
        Ok(Self {
            may_stop_early: list
                .iter()
                .all(|rule| rule.matches_max < usize::MAX && !rule.selector.traits().looks_ahead),
            read_root_attributes: list.iter().any(|rule| rule.selector.traits().reads_root_attributes),
            read_attributes: list.iter().any(Rule::reads_attributes),
            list,
        })
    }
}

impl Rule {
    fn compile(config: &Config) -> Result<Self, Failure> {
        let taken = match (config.multiple, config.limit) {
            (true, limit) => limit,
            (false, limit) => Some(limit.map_or(1, |limit| limit.min(1))),
        };
        let matches_max = match taken {
            None => usize::MAX,
            Some(0) => 0,
            Some(taken) => config.offset.saturating_add(taken),
        };
        Ok(Self {
            name: config.name.clone(),
            selector_text: config.selector_text.clone(),
            selector: Selector::compile(&config.selector_text).ok_or_else(|| {
                Failure::workflow("selector", format!("`{}` is not a selector", config.selector_text))
            })?,
            extract: config.extract.clone(),
            offset: config.offset,
            multiple: config.multiple,
            trim: config.trim,
            matches_max,
        })
    }

    /// Whether its matches, or what is taken of them, depend on attributes.
    fn reads_attributes(&self) -> bool {
        self.selector.traits().reads_attributes || self.extract != Extract::Text
    }

    /// Whether what is taken of an element can change as long as it is open.
    pub(super) fn reads_content(&self) -> bool {
        match self.extract {
            Extract::Text | Extract::Html | Extract::OuterHtml | Extract::Value => true,
            Extract::Attr(_) | Extract::Attrs => false,
        }
    }
}
