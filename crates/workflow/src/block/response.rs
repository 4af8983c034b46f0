//! `response`: the reply.

use crate::template::{JsonTemplate, TextTemplate};

/// Configuration of a `response` block.
#[derive(Debug)]
pub struct Response {
    /// HTTP status; a template may yield it.
    pub status: JsonTemplate,
    /// Header fields in order, names in lower case, short media types (`json`, `html`, `text`, `xml`, `csv`) written out.
    pub headers: Vec<(String, TextTemplate)>,
    /// The body.
    pub body: ResponseBody,
}

impl Response {
    /// Whether anything in it is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        let body = match &self.body {
            ResponseBody::Input => false,
            ResponseBody::Text(text) => text.literal().is_none(),
            ResponseBody::Json(value) => value.literal().is_none(),
        };
        body || self.status.literal().is_none() || self.headers.iter().any(|(_, value)| value.literal().is_none())
    }
}

/// Body of a reply.
#[derive(Debug)]
pub enum ResponseBody {
    /// The block's input as JSON: no `body`, or exactly `"{}"`. A string input under a `content-type` that is not JSON
    /// is sent as it is.
    Input,
    /// Text.
    Text(TextTemplate),
    /// A JSON value.
    Json(JsonTemplate),
}
