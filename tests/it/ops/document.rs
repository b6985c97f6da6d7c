//! The API's document describes what is answered, and whatever it describes is there.

use serde_json::json;

use super::*;

async fn document(world: &World) -> Value {
    let said = world.get("/api/v1/openapi.json").await;
    assert_eq!(said.status, 200);
    said.json()
}

/// Every operation: path, method, what is said of it.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

#[tokio::test]
async fn whatever_the_document_describes_is_answered() {
    let world = World::open().await;
    let document = document(&world).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], "1.2.3");
    let operations = operations(&document);
    assert!(operations.len() >= 24, "{}", operations.len());
    let mut ids = Vec::new();
    for (path, method, operation) in operations {
        let id = operation["operationId"].as_str().unwrap();
        assert!(!ids.contains(&id), "{id} twice");
        ids.push(id);
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{id}");
        let needs = operation["description"].as_str().unwrap();
        let is_open = ["login", "logout"].contains(&id);
        assert!(
            needs.contains("Needs the role ") != is_open,
            "{id}: {needs}"
        );
        assert!(operation["responses"]["200"].is_object(), "{id}");
        if id == "live" {
            continue; // Never ends; it has tests of its own.
        }
        let there = path
            .replace("{id}", "1")
            .replace("{number}", "1")
            .replace("{what}", "pause")
            .replace("{workspace}", "acme")
            .replace("{activation}", "spring-drop");
        let said = match method {
            "get" => world.get(&there).await,
            "post" => world.post(&there, &json!({})).await,
            other => panic!("{id}: {other}"),
        };
        assert!(said.status != 405, "{id}: {}", said.text);
        assert!(!said.text.contains("there is nothing here"), "{id}");
    }
    for (at, reference) in references(&document, "#") {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{at}: {reference}");
    }
}

fn references(node: &Value, at: &str) -> Vec<(String, String)> {
    match node {
        Value::Object(pairs) => pairs
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("$ref", Value::String(reference)) => vec![(at.to_owned(), reference.clone())],
                _ => references(value, &format!("{at}/{key}")),
            })
            .collect(),
        Value::Array(items) => {
            let items = items.iter();
            items.flat_map(|item| references(item, at)).collect()
        }
        _ => Vec::new(),
    }
}

/// What is wrong with `value` by `schema`, as far as names, presence and types go.
fn wrong(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let meant = document.pointer(reference.strip_prefix('#').unwrap());
        return wrong(document, meant.unwrap(), value, at);
    }
    if let Some(any) = schema["oneOf"].as_array() {
        let all: Vec<_> = any
            .iter()
            .map(|one| wrong(document, one, value, at))
            .collect();
        let fits = all.iter().any(Vec::is_empty);
        return if fits { Vec::new() } else { all.concat() };
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = json!({ "type": "object", "properties": {}, "required": [] });
        for part in parts {
            let part = match part["$ref"].as_str() {
                Some(reference) => document
                    .pointer(reference.strip_prefix('#').unwrap())
                    .unwrap(),
                None => part,
            };
            if part["allOf"].is_array() {
                return Vec::new();
            }
            for (name, of) in part["properties"].as_object().unwrap() {
                whole["properties"][name] = of.clone();
            }
            let required = part["required"].as_array().cloned().unwrap_or_default();
            whole["required"].as_array_mut().unwrap().extend(required);
        }
        return wrong(document, &whole, value, at);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
        _ => return Vec::new(),
    };
    let is_whole = kind == "integer" && allowed.contains(&"number");
    if !is_whole && !allowed.contains(&kind) {
        return vec![format!("{at} is {kind}, and described as {allowed:?}")];
    }
    let mut found = Vec::new();
    if let (Value::Object(pairs), Some(described)) = (value, schema["properties"].as_object()) {
        for (name, inner) in pairs {
            match described.get(name) {
                Some(schema) => {
                    found.extend(wrong(document, schema, inner, &format!("{at}.{name}")));
                }
                None => found.push(format!("{at}.{name} is not described")),
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !pairs.contains_key(name) {
                found.push(format!("{at}.{name} is missing"));
            }
        }
    }
    if let (Value::Array(items), schema @ Value::Object(_)) = (value, &schema["items"]) {
        for (number, item) in items.iter().enumerate() {
            found.extend(wrong(document, schema, item, &format!("{at}[{number}]")));
        }
    }
    found
}

#[tokio::test]
async fn answers_look_as_the_document_says() {
    let world = World::open().await;
    let id = world.rejected("ada@example.com").await;
    world.append(vec![running("bob@example.com")]).await;
    let hold = json!({ "lane": "acme/users_track", "for_seconds": 60 });
    assert_eq!(world.post("/api/v1/lanes/hold", &hold).await.status, 200);
    let document = document(&world).await;
    let mut looked_at = 0;
    for (path, method, operation) in operations(&document) {
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        if method != "get" || schema.is_null() {
            continue;
        }
        let there = path
            .replace("{workspace}", "acme")
            .replace("{activation}", "spring-drop")
            .replace("{id}", &id.to_string());
        let said = world.get(&there).await;
        if path.contains("{number}") || path == "/api/v1/forget/{id}" {
            let refused = &operation["responses"]["default"]["content"]["application/problem+json"];
            let found = wrong(&document, &refused["schema"], &said.json(), path);
            assert!(found.is_empty(), "{found:#?}");
            continue;
        }
        assert_eq!(said.status, 200, "{path}: {}", said.text);
        let found = wrong(&document, schema, &said.json(), path);
        assert!(found.is_empty(), "{found:#?}");
        looked_at += 1;
    }
    assert!(looked_at >= 12, "{looked_at}");
    let timed_out = json!({ "status": null, "text": "timed out" });
    let answer = &json!({ "$ref": "#/components/schemas/Answer" });
    let found = wrong(&document, answer, &timed_out, "an answer that never came");
    assert!(found.is_empty(), "{found:#?}");
    for (path, body) in [
        (
            "/api/v1/participants",
            json!({ "email": "ada@example.com" }),
        ),
        ("/api/v1/replays/preview", json!({ "filter": {} })),
        ("/api/v1/lanes/hold", json!({ "lane": "acme/users_track" })),
        (
            "/api/v1/lanes/release",
            json!({ "lane": "acme/users_track" }),
        ),
        ("/api/v1/forget", json!({ "email": "ada@example.com" })),
        (
            "/api/v1/dead/discard",
            json!({ "ids": [id], "because": "a test" }),
        ),
        ("/api/v1/dead/replay", json!({ "ids": [id] })),
    ] {
        let said = world.post(path, &body).await;
        assert_eq!(said.status, 200, "{path}: {}", said.text);
        let operation = &document["paths"][path]["post"];
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let found = wrong(&document, schema, &said.json(), path);
        assert!(!schema.is_null() && found.is_empty(), "{path}: {found:#?}");
    }
    let planted = json!({ "items": [{ "surprise": 1 }], "next": null });
    let page = &json!({ "$ref": "#/components/schemas/LetterPage" });
    assert!(!wrong(&document, page, &planted, "planted").is_empty());
}

#[tokio::test]
async fn an_activation_tells_where_its_people_are() {
    let world = World::open().await;
    world.rejected("ada@example.com").await;
    world
        .append(vec![running("bob@example.com"), running("cyd@example.com")])
        .await;
    let said = world.get("/api/v1/activations/acme/spring-drop").await;
    assert_eq!(said.status, 200, "{}", said.text);
    let told = said.json();
    assert_eq!(told["joined"], 3);
    assert_eq!(told["flow"], "email");
    assert_eq!(told["held"]["reason"], "burials");
    let steps = told["steps"].as_array().unwrap();
    let steps: Vec<_> = steps
        .iter()
        .map(|it| (it["step"].clone(), it["count"].clone()))
        .collect();
    assert_eq!(
        steps,
        [(json!("look_up"), json!(2)), (json!("dead"), json!(1))]
    );
    assert_eq!(told["dead"], json!([{ "reason": "rejected", "count": 1 }]));
    for nobody in [
        "/api/v1/activations/acme/never",
        "/api/v1/activations/other/spring-drop",
    ] {
        assert_eq!(world.get(nobody).await.refusal(), 404);
    }
}
