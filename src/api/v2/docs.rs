//! The pages about API v2 that people read: what it can do, and what each kind of problem means.
//!
//! Both are made of what programs get, the `OpenAPI` document and the kinds of problems, so that they can't say anything else.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;
use serde_json::Value;

use super::{kind::Kind, openapi};
use crate::{
    languages::PARAMETER,
    redirect::{
        fixed::{self, Page},
        pages::Frame,
    },
    state::App,
};

/// `GET /api/v2/docs`
pub async fn docs(request: HttpRequest, app: Data<App>) -> HttpResponse {
    let choice = fixed::language(&app, request.head());
    let (frame, base_url) = (app.frame(choice.language, ""), app.config.public.base_url.as_str());
    let page = DocsPage { frame, base_url, groups: &GROUPS, shapes: &SHAPES };
    fixed::html(&app, choice, StatusCode::OK, render(&page))
}

/// `GET /problems/{name}`: where the `type` of a problem leads.
pub async fn problem(name: Path<String>, request: HttpRequest, app: Data<App>) -> HttpResponse {
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == *name) else {
        return fixed::answer(&app, request.head(), Page::NotFound);
    };
    let choice = fixed::language(&app, request.head());
    let page = ProblemPage { frame: app.frame(choice.language, ""), kind };
    fixed::html(&app, choice, StatusCode::OK, render(&page))
}

fn render(page: &impl Template) -> String {
    page.render().expect("writing to a string doesn't fail")
}

#[derive(Template)]
#[template(path = "docs.html")]
struct DocsPage<'a> {
    frame: Frame<'a>,
    base_url: &'a str,
    groups: &'a [Group],
    shapes: &'a [Shape],
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame<'a>,
    kind: Kind,
}

/// The operations on one kind of thing.
struct Group {
    title: String,
    operations: Vec<Operation>,
}

struct Operation {
    /// The name of its place on the page.
    anchor: String,
    method: String,
    path: String,
    summary: String,
    description: Vec<Piece>,
    scopes: Vec<String>,
    parameters: Vec<Field>,
    /// Shapes that its body may have, with the media types.
    bodies: Vec<Body>,
    answers: Vec<Answer>,
}

struct Field {
    name: String,
    /// `query`, `a text`, and the like.
    kind: String,
    required: bool,
    description: Vec<Piece>,
}

/// Some words of a description: plain, or code.
struct Piece {
    text: String,
    is_code: bool,
}

struct Body {
    media_type: String,
    shape: Option<String>,
}

struct Answer {
    status: String,
    description: String,
    bodies: Vec<Body>,
}

/// A schema that has a name.
struct Shape {
    name: String,
    description: Vec<Piece>,
    fields: Vec<Field>,
    example: Option<String>,
}

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&openapi::document("")).expect("the document is JSON by construction"));

static GROUPS: LazyLock<Vec<Group>> = LazyLock::new(|| {
    let tags = DOCUMENT["tags"].as_array().into_iter().flatten();
    tags.map(|tag| Group { title: text(&tag["description"]), operations: operations_of(&tag["name"]) }).collect()
});

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let schemas = DOCUMENT["components"]["schemas"].as_object().into_iter().flatten();
    schemas.map(|(name, schema)| shape(name, schema)).filter(|shape| !shape.fields.is_empty()).collect()
});

fn operations_of(tag: &Value) -> Vec<Operation> {
    let paths = DOCUMENT["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
    });
    let of_tag = operations.filter(|(_, _, operation)| operation["tags"][0] == *tag);
    of_tag.map(|(path, method, operation)| read_operation(path, method, operation)).collect()
}

fn read_operation(path: &str, method: &str, operation: &Value) -> Operation {
    let answers = operation["responses"].as_object().into_iter().flatten();
    let scopes = operation["security"][0]["key"].as_array().into_iter().flatten();
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    Operation {
        anchor: words.fold(method.to_owned(), |anchor, word| anchor + "-" + word),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        description: pieces(&text(&operation["description"])),
        scopes: scopes.map(text).collect(),
        parameters: operation["parameters"].as_array().into_iter().flatten().map(read_parameter).collect(),
        bodies: bodies(&operation["requestBody"]["content"]),
        answers: answers
            .map(|(status, answer)| Answer {
                status: status.clone(),
                description: text(&answer["description"]),
                bodies: bodies(&answer["content"]),
            })
            .collect(),
    }
}

fn read_parameter(parameter: &Value) -> Field {
    Field {
        name: text(&parameter["name"]),
        kind: text(&parameter["in"]),
        required: parameter["required"] == true,
        description: pieces(&text(&parameter["description"])),
    }
}

fn bodies(content: &Value) -> Vec<Body> {
    let media_types = content.as_object().into_iter().flatten();
    media_types
        .map(|(media_type, of)| Body { media_type: media_type.clone(), shape: reference(&of["schema"]) })
        .collect()
}

fn shape(name: &str, schema: &Value) -> Shape {
    let mut fields = Vec::new();
    collect_fields(schema, &mut fields);
    Shape {
        name: name.to_owned(),
        description: pieces(&text(&schema["description"])),
        fields,
        example: schema.get("example").map(|example| serde_json::to_string_pretty(example).unwrap_or_default()),
    }
}

/// The fields of a schema, those of the schemas that it is put together from, or is one of, included.
fn collect_fields(schema: &Value, fields: &mut Vec<Field>) {
    let parts = ["allOf", "oneOf"].into_iter().flat_map(|of| schema[of].as_array().into_iter().flatten());
    for part in parts {
        match reference(part) {
            Some(name) => collect_fields(&DOCUMENT["components"]["schemas"][name], fields),
            None => collect_fields(part, fields),
        }
    }
    let required: Vec<&Value> = schema["required"].as_array().into_iter().flatten().collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        fields.push(Field {
            name: name.clone(),
            kind: kind_of(field),
            required: required.iter().any(|required| *required == name),
            description: pieces(&text(&field["description"])),
        });
    }
}

/// What a value is, in a few words.
fn kind_of(schema: &Value) -> String {
    if let Some(name) = reference(schema) {
        return name;
    }
    let alternatives: Vec<String> = ["oneOf", "anyOf"]
        .iter()
        .flat_map(|of| schema[*of].as_array().into_iter().flatten())
        .map(kind_of)
        .filter(|kind| !kind.is_empty())
        .collect();
    if !alternatives.is_empty() {
        return alternatives.join(" or ");
    }
    let types: Vec<String> = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect(),
        one => vec![text(one)],
    };
    let words = types.iter().map(|kind| match kind.as_str() {
        "array" => format!("list of {}", kind_of(&schema["items"])),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "string" => "text".to_owned(),
        other => other.to_owned(),
    });
    words.collect::<Vec<_>>().join(" or ")
}

fn reference(schema: &Value) -> Option<String> {
    Some(schema["$ref"].as_str()?.rsplit('/').next()?.to_owned())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What stands between back-ticks is code.
fn pieces(text: &str) -> Vec<Piece> {
    let pieces = text.split('`').enumerate().filter(|(_, text)| !text.is_empty());
    pieces.map(|(index, text)| Piece { text: text.to_owned(), is_code: index % 2 == 1 }).collect()
}
