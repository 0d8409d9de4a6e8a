//! What holds of every field of every kind, found by walking the schemas: no field can be forgotten.

use keyrota::crds;
use serde_json::{Value, json};

use super::{Kind, Server, shortened};

/// One field of a spec; lists end the walk, their items have tables of their own.
struct Field {
    path: Vec<String>,
    schema: Value,
    required: bool,
}

impl Field {
    fn type_(&self) -> &str {
        self.schema["type"].as_str().unwrap()
    }

    fn name(&self) -> String {
        format!("spec.{}", self.path.join("."))
    }

    /// A spec that holds this field alone.
    fn set_to(&self, value: Value) -> Value {
        self.path.iter().rev().fold(value, |inner, segment| json!({segment: inner}))
    }

    /// A spec that holds the object around this field, and nothing in it.
    fn missing(&self) -> Value {
        self.path.iter().rev().skip(1).fold(json!({}), |inner, segment| json!({segment: inner}))
    }

    /// Values of other types.
    fn wrong_types(&self) -> Vec<Value> {
        match self.type_() {
            "string" => vec![json!(7), json!(true), json!([]), json!({})],
            "integer" => vec![json!("7"), json!(7.5), json!(true), json!([7])],
            "boolean" => vec![json!("true"), json!(1), json!([])],
            "array" => vec![json!({}), json!("x"), json!(1)],
            "object" => vec![json!([]), json!("x"), json!(false)],
            other => panic!("{}: what is of another type than {other}?", self.name()),
        }
    }

    /// The empty value of a type that has one, and whether it is let in.
    fn empty(&self) -> Option<(Value, bool)> {
        match self.type_() {
            "array" => Some((json!([]), true)),
            "object" => Some((json!({}), self.schema["required"].is_null())),
            // Prose may be empty; every other text is a name, a time or an address.
            "string" => Some((json!(""), self.path == ["description"])),
            _ => None,
        }
    }
}

fn schema_of(kind: Kind) -> Value {
    let crds = crds::all().into_iter().map(|crd| serde_json::to_value(crd).unwrap());
    let crd = crds.into_iter().find(|crd| crd["spec"]["names"]["kind"] == format!("{kind:?}")).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

fn fields(schema: &Value, above: &[String]) -> Vec<Field> {
    let mut found = Vec::new();
    for (name, schema_below) in schema["properties"].as_object().into_iter().flatten() {
        let path = [above, std::slice::from_ref(name)].concat();
        found.extend(fields(schema_below, &path));
        let required = schema["required"].as_array().is_some_and(|all| all.iter().any(|field| field == name));
        found.push(Field { path, schema: schema_below.clone(), required });
    }
    found
}

/// All fields of all kinds; a walk that finds too few proves nothing.
fn all_fields() -> Vec<(Kind, Field)> {
    let fields: Vec<_> = Kind::ALL
        .into_iter()
        .flat_map(|kind| fields(&schema_of(kind), &[]).into_iter().map(move |field| (kind, field)))
        .collect();
    assert!(fields.len() >= 50, "{} fields", fields.len());
    fields
}

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn null_means_the_same_as_a_field_that_is_not_there() {
    let server = Server::new().await;
    let mut faults = Vec::new();
    for (kind, field) in all_fields() {
        let null = server.dry_run(kind, &kind.object(field.set_to(Value::Null))).await;
        let missing = server.dry_run(kind, &kind.object(field.missing())).await;
        match (null, missing) {
            (Ok(null), Ok(missing)) if null["spec"] == missing["spec"] && !field.required => {}
            (Err(null), Err(_)) if field.required && null.contains(&field.name()) => {}
            (null, missing) => faults.push(format!("{}: null {null:?}, missing {missing:?}", field.name())),
        }
    }
    none(&faults);
}

#[tokio::test]
async fn an_empty_list_or_object_is_let_in_and_an_empty_text_is_refused_by_name() {
    let server = Server::new().await;
    let mut faults = Vec::new();
    for (kind, field) in all_fields() {
        let Some((empty, fine)) = field.empty() else { continue };
        let answer = server.dry_run(kind, &kind.object(field.set_to(empty))).await;
        match answer {
            Ok(stored) if fine => faults.extend(kind.parse(stored).err()),
            Err(message) if !fine && message.contains(&field.name()) => {}
            other => faults.push(format!("{}: {other:?}", field.name())),
        }
    }
    none(&faults);
}

#[tokio::test]
async fn a_value_of_another_type_is_refused_by_name() {
    let server = Server::new().await;
    let mut faults = Vec::new();
    for (kind, field) in all_fields() {
        for value in field.wrong_types() {
            match server.dry_run(kind, &kind.object(field.set_to(value.clone()))).await {
                Err(message) if message.contains(&field.name()) => {}
                other => faults.push(format!("{} = {value}: {}", field.name(), shortened(&format!("{other:?}")))),
            }
        }
    }
    none(&faults);
}

#[tokio::test]
async fn a_misspelt_field_is_refused_by_name_under_strict_validation() {
    let server = Server::new().await;
    let mut faults = Vec::new();
    for (kind, mut field) in all_fields() {
        let last = field.path.last_mut().unwrap();
        last.push('x');
        match server.dry_run(kind, &kind.object(field.set_to(json!(1)))).await {
            Err(message) if message.contains(&format!("unknown field \"{}\"", field.name())) => {}
            other => faults.push(format!("{}: {}", field.name(), shortened(&format!("{other:?}")))),
        }
    }
    none(&faults);
}

/// An item that a list would take, were it not for the others. (Ten thousand bad ones make any kind's refusal ten
/// seconds and two megabytes long: the API server's own doing.)
fn item(list: &Field, number: usize) -> Value {
    let name = format!("n{number}");
    match list.path.last().unwrap().as_str() {
        "rolloutRestart" => json!({"kind": "Deployment", "name": name}),
        "trustedIssuers" => json!({"name": name, "issuer": "https://a", "kubernetes": true}),
        "adminRecipients" => json!(format!("{name}@example.com")),
        _ => json!(name),
    }
}

#[tokio::test]
async fn a_list_of_ten_thousand_is_refused_by_name_for_its_length() {
    let server = Server::new().await;
    let lists = all_fields().into_iter().filter(|(_, field)| field.type_() == "array");
    let mut faults = Vec::new();
    for (kind, field) in lists {
        let items: Vec<_> = (0..10_000).map(|number| item(&field, number)).collect();
        match server.dry_run(kind, &kind.object(field.set_to(items.into()))).await {
            Err(message) if message.contains(&format!("{}: Too many", field.name())) => {}
            other => faults.push(format!("{}: {}", field.name(), shortened(&format!("{other:?}")))),
        }
    }
    none(&faults);
}
