//! What the schema of a type says where none can be derived from it, for all that
//! a job is made of. `job::schema` puts them together.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The schema of a type, under a name, where none can be derived.
macro_rules! shape {
    ($type:ty, $name:literal, |$generator:ident| $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

pub(crate) use shape;

/// A number of bytes, or with a unit.
pub(crate) struct Size;

/// A time with its unit.
pub(crate) struct Time;

shape!(Size, "Size", |_generator| json_schema!({
    "anyOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "pattern": "^ *[0-9]+ *(K|KiB|M|MiB|G|GiB)? *$" },
    ]
}));

shape!(Time, "Time", |_generator| json_schema!({
    "type": "string",
    "pattern": "^ *([0-9]+ *[a-zA-Zµ]+ *)+$",
    "examples": ["500ms", "20s", "2m 30s"],
}));

/// What a table of options has, which YAML also takes for numbers and truth
/// values.
pub(crate) fn scalars(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    })
}

/// Words in which YAML sees numbers.
pub(crate) fn words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": ["string", "number"] }, "maxItems": 32 })
}

/// Exactly one kind of source.
pub(crate) fn one_source(schema: &mut Schema) {
    schema.insert(
        "oneOf".to_owned(),
        serde_json::json!([
            { "required": ["debian"] },
            { "required": ["version"], "not": { "required": ["debian"] } },
            { "required": ["url", "sha256"] },
            { "required": ["git"] },
            { "required": ["watch"] },
            { "required": ["dir"] },
        ]),
    );
    schema.insert(
        "dependentRequired".to_owned(),
        serde_json::json!({ "suite": ["debian"], "sha256": ["url"], "url": ["sha256"] }),
    );
}

/// A title or a signature.
pub(crate) fn one_way_to_name(schema: &mut Schema) {
    let ways = serde_json::json!([{ "required": ["title"] }, { "required": ["signature"] }]);
    schema.insert("oneOf".to_owned(), ways);
}
