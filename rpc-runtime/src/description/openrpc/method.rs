//! Writes a method of a document from its description, with the schemas of its types.

use serde_json::{Map, Value, json};

use crate::description::openrpc::docs::visible;
use crate::description::openrpc::document::{
    self, Content, Error, MethodObject, Pairing, Tag, Typed,
};
use crate::description::openrpc::names;
use crate::description::schema::{DataSchema, Generator, SchemaOf};
use crate::description::types::{
    Example, MethodDescription, MethodKind, ParameterDescription, ServiceDescription,
};

/// Generates the schemas of all methods.
pub(super) struct Types {
    pub(super) arguments: Generator,
    pub(super) results: Generator,
}

impl Types {
    pub(super) fn method(
        &mut self,
        service: &ServiceDescription,
        method: &MethodDescription,
    ) -> MethodObject {
        let params = method.parameters.iter();
        let params = params.map(|parameter| self.parameter(parameter));
        let mut params: Vec<_> = params.collect();
        let typed = |schema, rust_type| Typed { schema, rust_type };
        let entire_params = match method.entire_params {
            true => params
                .pop()
                .map(|entire| typed(entire.schema, entire.rust_type.unwrap_or_default())),
            false => None,
        };
        let upload = method
            .upload
            .map(|rust_type| typed(make(method.schemas.upload, &mut self.arguments), rust_type));
        let given = make(method.schemas.result, &mut self.results);
        let result = |schema, rust_type| Content {
            name: "result".to_owned(),
            required: None,
            schema,
            rust_type: Some(rust_type),
        };
        let (items, result) = match (method.kind, method.stream) {
            (MethodKind::Notification, _) => (None, None),
            (MethodKind::Call, false) => (None, Some(result(given, method.result))),
            (MethodKind::Call, true) => {
                let end = result(json!({"type": "null"}), "()");
                (Some(typed(given, method.result)), Some(end))
            }
        };
        let param_structure = match params.is_sorted_by_key(is_optional) {
            true => "either",
            false => "by-name",
        };
        params.sort_by_key(is_optional);
        let description = visible(method.docs);
        MethodObject {
            name: method.name,
            summary: summary(&description).to_owned(),
            description,
            tags: [Tag {
                name: service.name,
                description: visible(service.docs),
            }],
            deprecated: method.deprecated,
            param_structure,
            params,
            result,
            errors: self.errors(method),
            examples: method
                .examples
                .iter()
                .map(|it| pairing(it, method))
                .collect(),
            aliases: method.aliases,
            idempotent: method.idempotent,
            notification: method.kind == MethodKind::Notification,
            unreliable: method.unreliable,
            entire_params,
            items,
            upload,
        }
    }

    fn parameter(&mut self, parameter: &ParameterDescription) -> Content {
        let mut schema = make(parameter.schema, &mut self.arguments);
        if let Some(default) = parameter.default.and_then(|default| (default.0)()) {
            schema = with_default(schema, default);
        }
        Content {
            name: parameter.name.to_owned(),
            required: Some(parameter.is_required),
            schema,
            rust_type: Some(parameter.type_name),
        }
    }

    fn errors(&mut self, method: &MethodDescription) -> Vec<Error> {
        let errors = method.errors.iter().enumerate();
        let errors = errors.map(|(at, error)| Error {
            code: error.code,
            message: error.message,
            data: method
                .schemas
                .errors
                .get(at)
                .and_then(|schema| self.data(schema)),
        });
        errors.collect()
    }

    fn data(&mut self, schema: &DataSchema) -> Option<Value> {
        let make = |schema: &SchemaOf| schema.make(&mut self.results);
        Some(match schema {
            DataSchema::Nothing => return None,
            DataSchema::Value(schema) => schema.make(&mut self.results),
            DataSchema::Array(schemas) => {
                let items: Vec<_> = schemas.iter().map(make).collect();
                let count = items.len();
                json!({"type": "array", "items": items, "minItems": count, "maxItems": count})
            }
            DataSchema::Object(fields) => {
                let required: Vec<_> = fields.iter().map(|(name, _)| name).collect();
                let schemas = fields.iter().map(|(_, schema)| schema).map(make);
                let names = fields.iter().map(|(name, _)| (*name).to_owned());
                let properties: Map<_, _> = names.zip(schemas).collect();
                json!({"type": "object", "properties": properties, "required": required})
            }
        })
    }
}

/// Generates a schema. Without one, any value is allowed.
fn make(schema: Option<SchemaOf>, generator: &mut Generator) -> Value {
    schema.map_or_else(|| json!({}), |schema| schema.make(generator))
}

fn with_default(schema: Value, default: Value) -> Value {
    match schema {
        // Members beside a reference are ignored.
        Value::Object(members) if members.contains_key("$ref") => {
            json!({"allOf": [members], "default": default})
        }
        Value::Object(mut members) => {
            members.insert("default".to_owned(), default);
            Value::Object(members)
        }
        _ => json!({"default": default}),
    }
}

/// Lists the members of an object that is the entire `params`: to callers, they are parameters.
pub(super) fn spread(method: &mut MethodObject, schemas: &Map<String, Value>) {
    let Some(entire) = &method.entire_params else {
        return;
    };
    let name = entire.schema.get("$ref").and_then(names::named);
    let schema = name.map_or(Some(&entire.schema), |name| schemas.get(&name));
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    let required = schema.and_then(|schema| schema.get("required")?.as_array());
    let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|it| it == name));
    method.param_structure = match properties {
        Some(_) => "by-name",
        None => method.param_structure,
    };
    for (name, schema) in properties.into_iter().flatten() {
        method.params.push(Content {
            required: Some(is_required(name)),
            name: name.clone(),
            schema: schema.clone(),
            rust_type: None,
        });
    }
    method.params.sort_by_key(is_optional);
}

/// Returns `true` if a parameter is optional. The specification, and most languages, put optional parameters after the
/// required ones. If the trait does not, the order is irrelevant to a caller that passes arguments by name.
fn is_optional(param: &Content) -> bool {
    param.required != Some(true)
}

fn pairing(example: &Example, method: &MethodDescription) -> Pairing {
    let given = |name: &str, value| document::ExampleObject {
        name: name.to_owned(),
        value,
    };
    let names = method.parameters.iter().map(|parameter| parameter.name);
    // The macro has checked that it is JSON.
    let value = |json| serde_json::from_str(json).unwrap_or_default();
    let params = match value(example.params) {
        Value::Object(members) => {
            let members = members.into_iter();
            let mut params: Vec<_> = members.map(|(name, it)| given(&name, it)).collect();
            // A map would lose the order, and some readers match parameters by position.
            params.sort_by_key(|it| names.clone().position(|name| name == it.name));
            params
        }
        entire if method.entire_params => vec![given("params", entire)],
        Value::Array(elements) => names
            .zip(elements)
            .map(|(name, it)| given(name, it))
            .collect(),
        _ => vec![],
    };
    Pairing {
        name: example.name,
        params,
        result: example.result.map(|result| given("result", value(result))),
    }
}

/// Returns the first paragraph.
fn summary(description: &str) -> &str {
    description.split("\n\n").next().unwrap_or_default()
}
