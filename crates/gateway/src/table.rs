//! The hook routes of one moment, ready to be matched.

use std::collections::BTreeMap;
use std::rc::Rc;

use http::{HeaderValue, Method};
use runlet_proto::hook::{Route, RouteTable};
use tracing::error;

use crate::limits::{SUGGESTION_BYTES_MAX, SUGGESTION_ROUTES_MAX};
use crate::percent::{BadPath, decode, normalise};

/// Least similarity, from 0 to 1, of a path that is suggested instead of an unknown one.
const SIMILARITY_MIN: f64 = 0.6;

/// All hooks of all workflows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    router: matchit::Router<Hooks>,
    /// The paths as their definitions write them, for suggestions.
    paths: Vec<String>,
}

/// The hooks that share one path and differ in their methods.
#[derive(Debug)]
struct Hooks {
    routes: Vec<Rc<Hook>>,
    allow: HeaderValue,
}

/// One hook.
#[derive(Debug)]
pub(crate) struct Hook {
    /// What the supervisor says of it.
    pub(crate) route: Route,
    /// The names of its parameters, in order.
    pub(crate) names: Vec<String>,
}

/// What a request's path and method lead to.
#[derive(Debug)]
pub(crate) enum Found {
    /// A hook, and the values of its parameters in the order of [`Hook::names`].
    Hook(Rc<Hook>, Vec<String>),
    /// A hook, asked with `OPTIONS` which methods it allows.
    Options(HeaderValue),
    /// A hook that does not allow the method.
    Method(HeaderValue),
    /// No hook; the path of the nearest one, as its definition writes it.
    Nothing(Option<String>),
}

impl Table {
    /// Makes a table of the supervisor's. A route that cannot be matched is left out and logged: the supervisor refuses
    /// such a definition when it is deployed.
    pub(crate) fn new(table: RouteTable) -> Self {
        let paths = table.routes.iter().map(|route| route.path.clone()).collect();
        let mut by_pattern: BTreeMap<String, Vec<Rc<Hook>>> = BTreeMap::new();
        for route in table.routes {
            let (pattern, names) = pattern(&route.path);
            by_pattern.entry(pattern).or_default().push(Rc::new(Hook { route, names }));
        }
        let mut router = matchit::Router::new();
        for (pattern, routes) in by_pattern {
            let allow = allow(&routes);
            let workflow = routes[0].route.workflow.clone();
            if let Err(cause) = router.insert(pattern.as_str(), Hooks { routes, allow }) {
                error!(%pattern, workflow, %cause, "a hook's path cannot be served");
            }
        }
        Self { router, paths }
    }

    /// Looks up a path, which begins with the slash behind `/hook`.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<Found, BadPath> {
        let path = normalise(path)?;
        let Ok(matched) = self.router.at(&path) else {
            return Ok(Found::Nothing(self.nearest(&path)));
        };
        let hooks = matched.value;
        let Some(hook) = hooks.routes.iter().find(|hook| allows(&hook.route.methods, method.as_str())) else {
            let allow = hooks.allow.clone();
            return Ok(if *method == Method::OPTIONS { Found::Options(allow) } else { Found::Method(allow) });
        };
        let values = matched.params.iter().map(|(_, value)| decode(value)).collect::<Result<_, _>>()?;
        Ok(Found::Hook(Rc::clone(hook), values))
    }

    /// How many routes there are.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    fn nearest(&self, path: &str) -> Option<String> {
        let path = path.trim_matches('/');
        if path.len() > SUGGESTION_BYTES_MAX {
            return None;
        }
        let score = |known: &String| {
            let (known, path) = literals(known, path);
            strsim::normalized_damerau_levenshtein(&known, &path)
        };
        let scored = self.paths.iter().take(SUGGESTION_ROUTES_MAX).map(|known| (score(known), known));
        let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
        (best.0 >= SIMILARITY_MIN).then(|| best.1.clone())
    }
}

/// Whether a list of methods allows one. An empty list allows all; who allows GET allows HEAD (RFC 9110, section 9.3.2).
fn allows(methods: &[String], method: &str) -> bool {
    methods.is_empty() || methods.iter().any(|allowed| allowed == method || (allowed == "GET" && method == "HEAD"))
}

/// The `Allow` field of a path: what its hooks name, HEAD beside GET, and OPTIONS, which the gateway itself answers.
fn allow(hooks: &[Rc<Hook>]) -> HeaderValue {
    let mut methods: Vec<&str> = hooks.iter().flat_map(|hook| &hook.route.methods).map(String::as_str).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    HeaderValue::from_str(&methods.join(", ")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// A definition's path as a pattern of the router, and the names of its parameters. The pattern numbers them instead, so
/// that `shop/:id` and `shop/:name` are the same path.
fn pattern(path: &str) -> (String, Vec<String>) {
    let (mut pattern, mut names) = (String::with_capacity(path.len() + 8), Vec::new());
    for segment in path.split('/') {
        pattern.push('/');
        if let Some(name) = segment.strip_prefix(':') {
            pattern.push_str(&format!("{{{}}}", names.len()));
            names.push(name.to_owned());
            continue;
        }
        let literal = normalise(segment).map_or_else(|_| segment.replace('%', "%25"), String::from);
        pattern.push_str(&literal.replace('{', "{{").replace('}', "}}"));
    }
    (pattern, names)
}

/// A definition's path and an actual one, both without the segments where the definition has a parameter: any value fits
/// there, and a long one would make all else look alike. A parameter that is not given counts as a missing `:`, whatever it
/// is called.
fn literals(known: &str, path: &str) -> (String, String) {
    let (mut known_rest, mut path_rest) = (Vec::new(), Vec::new());
    let mut given = path.split('/');
    for segment in known.split('/') {
        let value = given.next();
        match (segment.strip_prefix(':'), value) {
            (Some(_), Some(_)) => {}
            (Some(_), None) => known_rest.push(":"),
            (None, value) => {
                known_rest.push(segment);
                path_rest.extend(value);
            }
        }
    }
    path_rest.extend(given);
    (known_rest.join("/"), path_rest.join("/"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use runlet_proto::hook::{OnDisconnect, Respond};

    use super::*;

    fn table(routes: &[(&str, &[&str])]) -> Table {
        let route = |(path, methods): &(&str, &[&str])| Route {
            path: (*path).into(),
            methods: methods.iter().map(|&method| method.into()).collect(),
            workflow: format!("{path} {}", methods.join(",")),
            respond: Respond::WhenDone,
            body_bytes_max: 1,
            timeout_ms: 1,
            on_disconnect: OnDisconnect::Stop,
        };
        Table::new(RouteTable { generation: 1, routes: routes.iter().map(route).collect() })
    }

    fn find(table: &Table, method: &Method, path: &str) -> String {
        match table.find(method, path).unwrap() {
            Found::Hook(hook, values) => format!("{} {:?}", hook.route.workflow, values),
            Found::Options(allow) => format!("options {}", allow.to_str().unwrap()),
            Found::Method(allow) => format!("405 {}", allow.to_str().unwrap()),
            Found::Nothing(nearest) => format!("404 {}", nearest.unwrap_or_default()),
        }
    }

    #[test]
    fn paths_parameters_and_methods() {
        let table = table(&[
            ("shop/:id", &["GET"]),
            ("shop/:name", &["POST"]),
            ("shop/new", &[]),
            ("a/:x/b/:y", &["PUT"]),
            ("café {x}", &["GET"]),
            ("", &["GET"]),
        ]);
        assert_eq!(find(&table, &Method::GET, "/shop/7"), r#"shop/:id GET ["7"]"#);
        assert_eq!(find(&table, &Method::HEAD, "/shop/7"), r#"shop/:id GET ["7"]"#);
        assert_eq!(find(&table, &Method::POST, "/shop/a%2Fb%25"), r#"shop/:name POST ["a/b%"]"#);
        assert_eq!(find(&table, &Method::OPTIONS, "/shop/7"), "options GET, HEAD, OPTIONS, POST");
        assert_eq!(find(&table, &Method::DELETE, "/shop/7"), "405 GET, HEAD, OPTIONS, POST");
        assert_eq!(find(&table, &Method::DELETE, "/shop/new"), "shop/new  []");
        assert_eq!(find(&table, &Method::OPTIONS, "/shop/new"), "shop/new  []");
        assert_eq!(find(&table, &Method::PUT, "/a/1/b/2"), r#"a/:x/b/:y PUT ["1", "2"]"#);
        assert_eq!(find(&table, &Method::GET, "/caf%C3%A9%20%7Bx%7D"), "café {x} GET []");
        assert_eq!(find(&table, &Method::GET, "/"), " GET []");
    }

    #[test]
    fn unknown_paths_get_the_nearest_known() {
        let table = table(&[("shop/:id", &["GET"]), ("prices/today", &["GET"])]);
        assert_eq!(find(&table, &Method::GET, "/prices/todya"), "404 prices/today");
        assert_eq!(find(&table, &Method::GET, "/shpo/4711"), "404 shop/:id");
        assert_eq!(find(&table, &Method::GET, "/post/4711"), "404 ");
        assert_eq!(find(&table, &Method::GET, "/weather/a-very-long-value"), "404 ");
        assert_eq!(find(&table, &Method::GET, "/shop/"), "404 shop/:id");
        assert_eq!(find(&table, &Method::GET, "/prices/today/"), "404 prices/today");
        assert_eq!(find(&table, &Method::GET, "/something/else"), "404 ");
        assert_eq!(find(&table, &Method::GET, &"/x".repeat(500)), "404 ");
        assert_eq!(find(&Table::default(), &Method::GET, "/x"), "404 ");
        assert!(table.find(&Method::GET, "/%zz").is_err());
    }
}
