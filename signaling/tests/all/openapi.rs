//! The OpenAPI file against the server it describes.

use crate::support;

use serde_json::{Value, json};
use support::{Answer, World, request};

const API: &str = "/openvidu/api";

async fn file(world: &World) -> Value {
    let answer = request(world.port, "GET", "/millrace/openapi.json", None, "").await;
    assert!(answer.status == 200 && answer.headers.contains("application/json"), "{}", answer.headers);
    answer.json()
}

/// Checks a value against a schema of the file: as much of JSON Schema as the file uses, and nothing it does not say.
fn conforms(file: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(target) = schema["$ref"].as_str() {
        return conforms(file, file.pointer(&target[1..]).expect("it leads somewhere"), value);
    }
    if let Some(some) = schema["anyOf"].as_array() {
        let wrong: Vec<String> = some.iter().filter_map(|one| conforms(file, one, value).err()).collect();
        return if wrong.len() < some.len() { Ok(()) } else { Err(wrong.join("; ")) };
    }
    let fits = match schema["type"].as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => {
            let low = schema["minimum"].as_i64().is_none_or(|low| value.as_i64().is_some_and(|it| it >= low));
            let high =
                schema["maximum"].as_u64().is_none_or(|high| value.as_u64().is_some_and(|it| it <= high));
            value.is_i64() && low && high
        }
        Some("string") => {
            value.is_string() && schema["enum"].as_array().is_none_or(|choices| choices.contains(value))
        }
        Some("array") => {
            let Some(list) = value.as_array() else { return Err(format!("{value} is no list")) };
            return list.iter().try_for_each(|entry| conforms(file, &schema["items"], entry));
        }
        Some("object") => return object_conforms(file, schema, value),
        other => panic!("{other:?} in {schema}"),
    };
    if fits { Ok(()) } else { Err(format!("{value} is not {schema}")) }
}

fn object_conforms(file: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Some(object) = value.as_object() else { return Err(format!("{value} is no object")) };
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        if !object.contains_key(name.as_str().expect("a name is a text")) {
            return Err(format!("{name} is missing"));
        }
    }
    object.iter().try_for_each(|(name, value)| match properties.get(name) {
        Some(schema) => conforms(file, schema, value).map_err(|wrong| format!("{name}: {wrong}")),
        None => Err(format!("nobody knows {name}")),
    })
}

/// Sends a request and checks that the file describes the answer. Gives its body.
async fn described(
    world: &World,
    file: &Value,
    method: &str,
    template: &str,
    path: &str,
    body: &str,
) -> Value {
    let answer = world.rest(method, &format!("{API}{path}"), body).await;
    let operation = &file["paths"][format!("{API}{template}")][method.to_lowercase()];
    conforms_to_operation(file, operation, &answer, &format!("{method} {path} {body}"))
}

/// Checks that an operation of the file describes an answer. Gives the answer's body.
fn conforms_to_operation(file: &Value, operation: &Value, answer: &Answer, call: &str) -> Value {
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{call} is not described: {answer:?}");
    match &response["content"]["application/json"]["schema"] {
        Value::Null => {
            assert!(response.get("content").is_some() || answer.body.is_empty(), "{call}: {answer:?}");
            Value::Null
        }
        schema => {
            let body = answer.json();
            conforms(file, schema, &body).unwrap_or_else(|wrong| panic!("{call}: {wrong}"));
            body
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_the_file_is_served_and_answers_as_it_says() {
    let world = World::start().await;
    let file = file(&world).await;
    assert_eq!(file["openapi"], "3.1.0");
    assert_eq!(file["servers"][0]["url"], "/");
    let mut calls = 0;
    for (template, methods) in file["paths"].as_object().unwrap() {
        let mut path = template.clone();
        for (name, value) in
            [("session", "ses_X"), ("connection", "con_X"), ("stream", "str_X"), ("recording", "x")]
        {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let bodies =
                if operation.get("requestBody").is_some() { ["", "{}", "[]", "{"].as_slice() } else { &[""] };
            for body in bodies {
                let answer = world.rest(&method, &path, body).await;
                conforms_to_operation(&file, operation, &answer, &format!("{method} {path} {body}"));
                calls += 1;
            }
            let answer = request(world.port, &method, &path, None, "").await;
            assert_eq!(answer.status == 401, operation.get("security").is_none(), "{method} {path}");
            assert!(operation["responses"].get(answer.status.to_string()).is_some(), "{method} {path}");
        }
        // What the file does not hold is not there.
        for method in ["PUT", "PATCH", "DELETE", "POST", "GET"] {
            let answer = world.rest(method, &path, "").await;
            assert_eq!(answer.status == 403, methods.get(method.to_lowercase()).is_none(), "{method} {path}");
        }
    }
    assert!(calls >= 30, "{calls}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_connections_are_as_the_file_says() {
    let world = World::start().await;
    let file = file(&world).await;
    let id = world.session().await;
    let (mut publisher, con_a) = world.join(&id, "MODERATOR").await;
    let stream = publisher.publish().await["id"].as_str().unwrap().to_owned();
    let (mut viewer, _) = world.join(&id, "SUBSCRIBER").await;
    viewer.watch(&stream).await;
    let options = json!({"kurentoOptions": {"videoMaxRecvBandwidth": 500, "allowedFilters": ["x"]},
        "customIceServers": [{"url": "turn:h", "username": "a", "credential": "b"}]});
    let template = "/sessions/{session}/connection";
    let path = format!("/sessions/{id}/connection");
    described(&world, &file, "POST", template, &path, &options.to_string()).await;
    let listed = described(&world, &file, "GET", template, &path, "").await;
    assert_eq!(listed["numberOfElements"], 3);
    let one = described(
        &world,
        &file,
        "GET",
        "/sessions/{session}/connection/{connection}",
        &format!("{path}/{con_a}"),
        "",
    )
    .await;
    assert_eq!(one["publishers"][0]["streamId"], stream);
    let stats = "?pendingConnections=true&webRtcStats=true";
    described(&world, &file, "GET", "/sessions", &format!("/sessions{stats}"), "").await;
    described(&world, &file, "GET", "/sessions/{session}", &format!("/sessions/{id}{stats}"), "").await;
    let token = json!({"session": id, "kurentoOptions": {}}).to_string();
    described(&world, &file, "POST", "/tokens", "/tokens", &token).await;
    let signal = json!({"session": id, "to": [con_a]}).to_string();
    described(&world, &file, "POST", "/signal", "/signal", &signal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_forbids_is_refused() {
    let world = World::start().await;
    let file = file(&world).await;
    let id = world.session().await;
    let post = |path: String, name: String, value: Value| {
        let world = &world;
        async move {
            let mut body = json!({"session": "ses_X"});
            body[&name] = value.clone();
            let answer = world.rest("POST", &format!("{API}{path}"), &body.to_string()).await;
            assert_eq!(answer.status, 400, "{path}: {name} is {value}");
        }
    };
    let mut values = 0;
    for template in ["/sessions", "/sessions/{session}/connection", "/tokens", "/signal"] {
        let schema = &file["paths"][format!("{API}{template}")]["post"]["requestBody"]["content"]["application/json"]
            ["schema"];
        let shape = file.pointer(&schema["$ref"].as_str().unwrap()[1..]).unwrap();
        for (name, property) in shape["properties"].as_object().unwrap() {
            for value in [json!(true), json!(-1), json!(1.5), json!("\u{7f}?"), json!([[]]), json!({})] {
                let reads = conforms(&file, property, &value).is_ok();
                if !reads {
                    post(template.replace("{session}", &id), name.clone(), value).await;
                    values += 1;
                }
            }
        }
    }
    assert!(values >= 80, "{values}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_page_loads_nothing_from_elsewhere() {
    let world = World::start().await;
    for (path, kind) in [
        ("/millrace/api", "text/html"),
        ("/millrace/api.js", "text/javascript"),
        ("/millrace/api.css", "text/css"),
    ] {
        let answer = request(world.port, "GET", path, None, "").await;
        assert!(answer.status == 200 && answer.headers.contains(kind), "{path}: {}", answer.headers);
        assert!(answer.headers.contains("default-src 'self'"), "{}", answer.headers);
        assert!(!answer.body.contains("://"), "{path} names another place");
    }
}
