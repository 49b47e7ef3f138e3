//! The document, with the members of the specification.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Serialize)]
pub(super) struct OpenRpcDocument<'a> {
    pub(super) openrpc: &'static str,
    pub(super) info: Info<'a>,
    pub(super) methods: Vec<MethodObject>,
    #[serde(skip_serializing_if = "Components::is_empty")]
    pub(super) components: Components,
}

#[derive(Serialize)]
pub(super) struct Info<'a> {
    pub(super) title: &'a str,
    pub(super) version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) description: &'a str,
}

#[derive(Serialize)]
pub(super) struct Components {
    pub(super) schemas: Map<String, Value>,
}

impl Components {
    fn is_empty(&self) -> bool {
        self.schemas.is_empty()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MethodObject {
    pub(super) name: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) summary: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) description: Cow<'static, str>,
    pub(super) tags: [Tag; 1],
    #[serde(skip_serializing_if = "is_false")]
    pub(super) deprecated: bool,
    pub(super) param_structure: &'static str,
    pub(super) params: Vec<Content>,
    /// `None` for a notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Content>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<Error>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) examples: Vec<Pairing>,
    #[serde(rename = "x-aliases", skip_serializing_if = "<[&str]>::is_empty")]
    pub(super) aliases: &'static [&'static str],
    #[serde(rename = "x-idempotent", skip_serializing_if = "is_false")]
    pub(super) idempotent: bool,
    #[serde(rename = "x-notification", skip_serializing_if = "is_false")]
    pub(super) notification: bool,
    #[serde(rename = "x-unreliable", skip_serializing_if = "is_false")]
    pub(super) unreliable: bool,
    #[serde(rename = "x-params", skip_serializing_if = "Option::is_none")]
    pub(super) entire_params: Option<Typed>,
    #[serde(rename = "x-items", skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Typed>,
    #[serde(rename = "x-upload", skip_serializing_if = "Option::is_none")]
    pub(super) upload: Option<Typed>,
}

#[derive(Clone, Serialize)]
pub(super) struct Tag {
    pub(super) name: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) description: Cow<'static, str>,
}

/// A parameter, or a result.
#[derive(Serialize)]
pub(super) struct Content {
    pub(super) name: String,
    /// `None` for a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) required: Option<bool>,
    pub(super) schema: Value,
    #[serde(rename = "x-rust-type", skip_serializing_if = "Option::is_none")]
    pub(super) rust_type: Option<&'static str>,
}

/// A Rust type, in a member outside the specification.
#[derive(Serialize)]
pub(super) struct Typed {
    pub(super) schema: Value,
    #[serde(rename = "x-rust-type")]
    pub(super) rust_type: &'static str,
}

#[derive(Serialize)]
pub(super) struct Error {
    pub(super) code: i64,
    pub(super) message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Value>,
}

/// A call and its reply.
#[derive(Serialize)]
pub(super) struct Pairing {
    pub(super) name: &'static str,
    pub(super) params: Vec<ExampleObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<ExampleObject>,
}

#[derive(Serialize)]
pub(super) struct ExampleObject {
    pub(super) name: String,
    pub(super) value: Value,
}

fn is_false(it: &bool) -> bool {
    !it
}
