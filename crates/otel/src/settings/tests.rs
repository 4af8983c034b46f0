//! Tests of what the environment can say.

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, WrongVariable> {
    Settings::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
}

/// With an endpoint.
fn with(variables: &[(&str, &str)]) -> Result<Settings, WrongVariable> {
    let all = [&[(ENDPOINT, "http://collector:4318")], variables].concat();
    read(&all).map(|settings| settings.expect("an endpoint is set"))
}

#[test]
fn without_an_endpoint_nothing_is_exported() {
    assert!(read(&[]).expect("nothing is wrong").is_none());
    assert!(read(&[(ENDPOINT, ""), ("OTEL_SERVICE_NAME", "shop")]).expect("nothing is wrong").is_none());
    for (name, value) in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
        let settings = read(&[(ENDPOINT, "http://collector:4318"), (name, value)]).expect("nothing is wrong");
        assert!(settings.is_none(), "{name}");
    }
}

#[test]
fn what_is_not_said_is_as_the_specification_has_it() {
    let settings = with(&[]).expect("an endpoint is enough");
    assert_eq!(settings.endpoint.as_str(), "http://collector:4318/v1/traces");
    assert_eq!((settings.timeout, settings.batch_spans), (Duration::from_secs(10), 512));
    assert_eq!(settings.batch_delay, Duration::from_secs(5));
    assert!(settings.headers.is_empty() && !settings.gzip && settings.authorities.is_empty());
    assert_eq!(settings.sampler, Sampler::default());
    assert!(settings.resource.contains(&("service.name".to_owned(), "runlet".to_owned())));
}

#[test]
fn what_is_said_of_traces_goes_first() {
    let settings = with(&[
        (TRACES_ENDPOINT, "https://user:word@traces.example/own?key=1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2500"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-key=se%20cret%2C, other = 2"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ]);
    let settings = settings.expect("all of it is right");
    assert_eq!(settings.endpoint.path(), "/own");
    assert_eq!(settings.timeout, Duration::from_millis(2_500));
    assert_eq!((settings.headers.len(), &settings.headers["x-key"]), (2, &HeaderValue::from_static("se cret,")));
    assert_eq!(settings.headers["other"], "2");
    assert!(settings.gzip);
    assert_eq!(format!("{settings:?}"), "Settings { endpoint: \"https://traces.example\", .. }");
}

#[test]
fn a_path_of_the_endpoint_stays() {
    for (given, expected) in [
        ("http://c/", "http://c/v1/traces"),
        ("http://c/a", "http://c/a/v1/traces"),
        ("http://c/a/", "http://c/a/v1/traces"),
    ] {
        let settings = read(&[(ENDPOINT, given)]).expect("a URL").expect("an endpoint");
        assert_eq!(settings.endpoint.as_str(), expected);
    }
}

#[test]
fn the_service_has_the_name_that_was_given_to_it() {
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=of%20attributes,deployment.environment.name=test");
    let name = |settings: &Settings| {
        let names = settings.resource.iter().filter(|(key, _)| key == "service.name");
        names.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let settings = with(&[attributes]).expect("attributes");
    assert_eq!(name(&settings), ["of attributes"]);
    assert!(settings.resource.contains(&("deployment.environment.name".to_owned(), "test".to_owned())));
    assert_eq!(name(&with(&[attributes, ("OTEL_SERVICE_NAME", "shop")]).expect("a name")), ["shop"]);
}

#[test]
fn what_is_wrong_names_its_variable_and_repeats_no_secret() {
    for (name, value) in [
        (ENDPOINT, "hunter2"),
        (ENDPOINT, "hunter2:4318"),
        (TRACES_ENDPOINT, "grpc://hunter2:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,=hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0A"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%ff"),
        ("OTEL_RESOURCE_ATTRIBUTES", "hunter2"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/nowhere/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/null"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "hunter2"),
    ] {
        // Of two the first counts.
        let wrong = read(&[(name, value), (ENDPOINT, "http://collector:4318")]).expect_err(value);
        assert_eq!(wrong.variable, name);
        assert!(wrong.to_string().starts_with(name) && !wrong.to_string().contains("hunter2"), "{wrong}");
    }
}

#[test]
fn what_is_no_choice_or_no_number_is_an_error() {
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "99999999999"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ] {
        let wrong = with(&[(name, value)]).expect_err(value);
        assert_eq!(wrong.variable, name);
        assert!(wrong.to_string().contains(&format!("`{value}`")), "{wrong}");
    }
    let wrong =
        with(&[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")]).expect_err("a share");
    assert_eq!(wrong.variable, "OTEL_TRACES_SAMPLER_ARG");
}
