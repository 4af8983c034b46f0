//! `response`: the reply.

use jsonc_parser::ast::Value;

use crate::field::{Field, Shape};
use crate::parse::config::{Config, Kind};
use crate::parse::headers;
use crate::parse::report::Report;
use crate::parse::spot::Spot;
use crate::template::{Escape, JsonTemplate, TextTemplate};

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

/// Body of a reply.
#[derive(Debug)]
pub enum ResponseBody {
    /// The block's input as JSON: no `body`, or exactly `"{}"`. A string input under a `content-type` that is not JSON
    /// is sent as it is.
    Input,
    /// Text. Under HTML and XML the values in it are escaped, unless they went through `| safe`.
    Text(TextTemplate),
    /// A template under a `content-type` that is one as well: a [`Self::Json`] or a [`Self::Text`], as the rendered type has it.
    ByType(TextTemplate),
    /// A JSON value: anything but a string, or a string that is one expression under a `content-type` that is JSON or
    /// not said.
    Json(JsonTemplate),
}

impl Response {
    /// Whether anything in it is a template.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        let body = match &self.body {
            ResponseBody::Input => false,
            ResponseBody::Text(text) | ResponseBody::ByType(text) => text.literal().is_none(),
            ResponseBody::Json(value) => value.literal().is_none(),
        };
        body || self.status.literal().is_none() || self.headers.iter().any(|(_, value)| value.literal().is_none())
    }
}

pub(crate) static KIND: Kind = Kind {
    fields: &[
        Field::new(
            "status",
            "HTTP status, 200 to 599, or a template that yields it. Default: 200.",
            Shape::Either(&[Shape::Integer(STATUS_MIN, STATUS_MAX), Shape::Expression]),
        ),
        Field::new(
            "header",
            "Header fields: an object or a list of one-pair objects. json, html, text, xml and csv are short for their media types.",
            Shape::Headers,
        ),
        Field::new("headers", "The same as header.", Shape::Headers),
        Field::new(
            "body",
            "The body: a string, or any JSON. Without it, or with exactly \"{}\", the block's input.",
            Shape::Any,
        ),
    ],
    bare: &["status", "header", "headers", "body"],
    unavailable: &[],
};

const STATUS_MIN: u64 = 200;
const STATUS_MAX: u64 = 599;
const STATUS_DEFAULT: u64 = 200;

impl Response {
    pub(crate) fn read(config: &Config<'_, '_>, report: &mut Report<'_>) -> Self {
        let headers =
            config.take_either("header", "headers", report).map_or_else(Vec::new, |spot| headers::read(&spot, report));
        let media_type = headers::media_type(&headers);
        let known_late = media_type.is_none() && headers.iter().any(|(name, _)| name == "content-type");
        Self {
            status: config
                .take("status", report)
                .and_then(|spot| status(&spot, report))
                .unwrap_or_else(|| JsonTemplate::from_literal(STATUS_DEFAULT.into())),
            body: config
                .take("body", report)
                .and_then(|spot| match (known_late, spot.value) {
                    (true, Value::StringLit(text)) if text.value.contains("{{") => {
                        spot.text(Escape::None, report).map(ResponseBody::ByType)
                    }
                    _ => body(&spot, media_type.as_deref(), report),
                })
                .unwrap_or(ResponseBody::Input),
            headers,
        }
    }
}

fn status(spot: &Spot<'_, '_>, report: &mut Report<'_>) -> Option<JsonTemplate> {
    if let Value::StringLit(text) = spot.value
        && text.value.contains("{{")
    {
        let example = "{{ 404 if input.items | length == 0 else 200 }}";
        return spot.expression(example, report).map(JsonTemplate::from_expression);
    }
    spot.integer(STATUS_MIN..=STATUS_MAX, report).map(|status| JsonTemplate::from_literal(status.into()))
}

fn body(spot: &Spot<'_, '_>, media_type: Option<&str>, report: &mut Report<'_>) -> Option<ResponseBody> {
    let Value::StringLit(text) = spot.value else { return spot.json(report).map(ResponseBody::Json) };
    if text.value == "{}" {
        return Some(ResponseBody::Input);
    }
    let is_json = media_type.is_none_or(|media_type| media_type == "application/json" || media_type.ends_with("+json"));
    let escape = if media_type.is_some_and(is_markup) { Escape::Html } else { Escape::None };
    if is_json && spot.is_one_expression() {
        return spot.json(report).map(ResponseBody::Json);
    }
    spot.text(escape, report).map(ResponseBody::Text)
}

/// Whether a value with a `<` in it could become an element: HTML, and all of XML, whose XHTML and SVG run scripts too. The
/// media type is in lower case and without parameters.
#[must_use]
pub fn is_markup(media_type: &str) -> bool {
    matches!(media_type, "text/html" | "text/xml" | "application/xml") || media_type.ends_with("+xml")
}
