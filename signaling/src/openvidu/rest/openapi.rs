//! The OpenAPI 3.1 description of the API, made of the very table the router is made of.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};

use super::fields::{CONNECTION_PROPERTIES, FAILURE, Field, Kind, Presence, SESSION_PROPERTIES, Shape};
use super::routes::{Access, Answer, Content, ROUTES, Route, Verb};

const INTRODUCTION: &str = "The REST API of OpenVidu 2, as Millrace serves it. A key that is null is as good as absent; keys \
     nobody knows are let through. Another method of a known path, or another path, is answered with 403; so is a POST \
     without a body that a page of another site makes a browser send. A body comes with Content-Type: application/json.";

/// Name of the one way to prove who calls.
const SECRET: &str = "secret";

/// Serves the description.
pub async fn openapi() -> impl IntoResponse {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str())
}

fn document() -> Value {
    let mut shapes = BTreeMap::new();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in &ROUTES {
        let operation = operation(route, &mut shapes);
        paths.entry(route.whole_path()).or_default().insert(route.verb.as_str().into(), operation);
    }
    let schemas: BTreeMap<&str, Value> =
        shapes.into_iter().map(|(name, shape)| (name, schema(shape))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace",
            "version": env!("CARGO_PKG_VERSION"),
            "description": INTRODUCTION,
        },
        "servers": [{"url": "/"}],
        "security": [{SECRET: []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                SECRET: {
                    "type": "http",
                    "scheme": "basic",
                    "description": "User OPENVIDUAPP, and the server's secret as password. The monitor secret works too, for \
                                    GET alone, and its answers hold no tokens, passwords and session descriptions",
                },
            },
        },
    })
}

fn operation(route: &Route, shapes: &mut BTreeMap<&'static str, &'static Shape>) -> Value {
    let named = names_in(route.path);
    let in_path = named.iter().map(|name| {
        json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}})
    });
    let in_query = route.query.iter().map(|(name, about)| {
        json!({"name": name, "in": "query", "description": about, "schema": {"type": "boolean"}})
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut operation = Map::new();
    operation.insert("operationId".into(), json!(operation_id(route)));
    operation.insert("summary".into(), json!(route.summary));
    if route.access == Access::Everybody {
        operation.insert("security".into(), json!([]));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".into(), json!(parameters));
    }
    if let Some(shape) = route.body {
        collect(shape, shapes);
        let required = shape.fields.iter().any(|field| field.presence == Presence::Always);
        let content = json!({"application/json": {"schema": reference(shape)}});
        operation.insert("requestBody".into(), json!({"required": required, "content": content}));
    }
    let mut answers: BTreeMap<String, Value> = BTreeMap::new();
    for (status, about) in common_refusals(route, !parameters.is_empty()) {
        let refusal = Answer { status, content: Content::Json(&FAILURE), about };
        let mut refusal = response(&refusal, shapes);
        if status == 429 {
            let seconds = json!({"type": "integer", "minimum": 1});
            refusal["headers"] = json!({"Retry-After": {"description": "In seconds", "schema": seconds}});
        }
        answers.insert(status.to_string(), refusal);
    }
    for answer in route.answers {
        answers.insert(answer.status.to_string(), response(answer, shapes));
    }
    if let Some(answer) = answers.get_mut("200") {
        let links = links(route);
        if !links.is_empty() {
            answer["links"] = Value::Object(links);
        }
    }
    operation.insert("responses".into(), json!(answers));
    Value::Object(operation)
}

/// Where what was just made can be used: the file's readers find their way, and a fuzzer gets further than 404.
fn links(route: &Route) -> Map<String, Value> {
    const MADE: &str = "$response.body#/id";
    let mut known: Vec<(&str, String)> =
        names_in(route.path).into_iter().map(|name| (name, format!("$request.path.{name}"))).collect();
    let made = match route.body {
        Some(shape) if shape.name == SESSION_PROPERTIES.name => "session",
        Some(shape) if shape.name == CONNECTION_PROPERTIES.name => "connection",
        _ => return Map::new(),
    };
    known.push((made, MADE.to_owned()));
    let link = |other: &Route| {
        let parameters: Map<String, Value> = names_in(other.path)
            .into_iter()
            .map(|name| {
                known.iter().find(|(known, _)| *known == name).map(|(_, value)| (name.into(), json!(value)))
            })
            .collect::<Option<_>>()?;
        let by_path = parameters.contains_key(made);
        let by_body = other.body.is_some_and(|shape| shape.fields.iter().any(|field| field.name == made));
        let id = operation_id(other);
        match (by_path, by_body) {
            (true, _) => Some((id.clone(), json!({"operationId": id, "parameters": parameters}))),
            (_, true) => Some((id.clone(), json!({"operationId": id, "requestBody": {made: MADE}}))),
            _ => None,
        }
    };
    ROUTES.iter().filter_map(link).collect()
}

/// What a call may be refused with because of how it is made.
fn common_refusals(route: &Route, has_parameters: bool) -> Vec<(u16, &'static str)> {
    let mut refusals = Vec::new();
    if has_parameters || route.body.is_some() {
        refusals.push((400, "Something has the wrong type or value, or what it is about does not exist"));
    }
    if route.access == Access::Secret {
        refusals.push((401, "The secret is wrong or missing"));
        if route.verb != Verb::Get {
            refusals.push((403, "The secret is the monitor's, which may only read"));
        }
    }
    if route.body.is_some() {
        refusals.push((413, "The body is too long"));
        refusals.push((415, "The body does not come with Content-Type: application/json"));
    }
    refusals.push((
        429,
        "The address sends too many requests, or too many wrong secrets; Retry-After says how long",
    ));
    refusals
}

fn response(answer: &Answer, shapes: &mut BTreeMap<&'static str, &'static Shape>) -> Value {
    let reason = StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    let about = if answer.about.is_empty() { reason.unwrap_or_default() } else { answer.about };
    match answer.content {
        Content::Nothing => json!({"description": about}),
        Content::Text => {
            json!({"description": about, "content": {"text/plain": {"schema": {"type": "string"}}}})
        }
        Content::Json(shape) => {
            collect(shape, shapes);
            json!({"description": about, "content": {"application/json": {"schema": reference(shape)}}})
        }
    }
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split('/').filter(|word| !word.is_empty());
    let words: Vec<&str> = words.map(|word| word.trim_matches(['{', '}'])).collect();
    format!("{}-{}", route.verb.as_str(), words.join("-"))
}

/// The names between braces.
fn names_in(path: &'static str) -> Vec<&'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
}

/// Notes a shape and all it is made of.
fn collect(shape: &'static Shape, shapes: &mut BTreeMap<&'static str, &'static Shape>) {
    if shapes.insert(shape.name, shape).is_some() {
        return;
    }
    for field in shape.fields {
        let mut kind = &field.kind;
        while let Kind::List(entry, _) = kind {
            kind = entry;
        }
        if let Kind::Object(inner) = kind {
            collect(inner, shapes);
        }
    }
}

fn reference(shape: &Shape) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", shape.name)})
}

fn schema(shape: &Shape) -> Value {
    let is_required = |field: &&Field| field.presence != Presence::Optional;
    let required: Vec<&str> = shape.fields.iter().filter(is_required).map(|field| field.name).collect();
    let properties: Map<String, Value> =
        shape.fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    let mut schema = Map::new();
    schema.insert("type".into(), json!("object"));
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    schema.insert("properties".into(), Value::Object(properties));
    Value::Object(schema)
}

fn property(field: &Field) -> Value {
    let kind = value(&field.kind);
    let mut property = match field.presence {
        Presence::Always => kind,
        Presence::Nullable | Presence::Optional => json!({"anyOf": [kind, {"type": "null"}]}),
    };
    if !field.about.is_empty() {
        property["description"] = json!(field.about);
    }
    property
}

fn value(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Pattern(pattern) => json!({"type": "string", "pattern": format!("^{pattern}$")}),
        Kind::Choice(choices) => json!({"type": "string", "enum": choices}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Whole(max) => json!({"type": "integer", "minimum": 0, "maximum": max}),
        Kind::Rate => json!({"type": "integer", "minimum": -1}),
        Kind::Anything => json!({"type": "object"}),
        Kind::Object(shape) => reference(shape),
        Kind::List(entry, max) => json!({"type": "array", "items": value(entry), "maxItems": max}),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Calls `look` with every object inside.
    fn walk(value: &Value, look: &mut impl FnMut(&Map<String, Value>)) {
        match value {
            Value::Object(object) => {
                look(object);
                object.values().for_each(|value| walk(value, look));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, look)),
            _ => {}
        }
    }

    fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        let methods = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        });
        methods.collect()
    }

    #[test]
    fn it_holds_every_route_and_nothing_else() {
        let document = document();
        let described: BTreeSet<(&str, &str)> =
            operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
        let paths: Vec<String> = ROUTES.iter().map(Route::whole_path).collect();
        let served: BTreeSet<(&str, &str)> =
            ROUTES.iter().zip(&paths).map(|(route, path)| (path.as_str(), route.verb.as_str())).collect();
        assert_eq!(described, served);
        assert_eq!(served.len(), ROUTES.len(), "no route is there twice");
    }

    #[test]
    fn every_operation_is_described_whole() {
        let document = document();
        let mut ids = BTreeSet::new();
        for (path, method, operation) in operations(&document) {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().all(|status| status.parse::<StatusCode>().is_ok()), "{method} {path}");
            let ends = |digit: char| answers.keys().any(|status| status.starts_with(digit));
            assert!(ends('2') || answers.contains_key("501"), "{method} {path} never ends well");
            assert!(answers.values().all(|answer| answer["description"] != ""), "{method} {path}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let braces = path.matches('{').count();
            let declared =
                in_path.filter(|it| path.contains(&format!("{{{}}}", it["name"].as_str().unwrap())));
            assert_eq!(declared.count(), braces, "{method} {path}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let (mut referred, mut links) = (BTreeSet::new(), 0);
        walk(&document, &mut |object| {
            if let Some(target) = object.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{target}");
                referred.insert(pointer.rsplit('/').next().unwrap().to_owned());
            }
            for link in object.get("links").and_then(Value::as_object).into_iter().flat_map(Map::values) {
                let target = ROUTES.iter().find(|route| link["operationId"] == operation_id(route)).unwrap();
                let given = link["parameters"].as_object().into_iter().flat_map(Map::keys);
                assert!(given.eq(names_in(target.path)), "{link}");
                links += 1;
            }
            if let (Some(required), Some(properties)) = (object.get("required"), object.get("properties")) {
                let names = required.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                assert!(names.into_iter().all(|name| properties.get(name).is_some()), "{object:?}");
            }
        });
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert!(schemas.keys().eq(referred.iter()), "{referred:?}");
        // A session leads to its own four calls, tokens, signals and invitations; a connection to its own two.
        assert_eq!(links, 9);
    }
}
