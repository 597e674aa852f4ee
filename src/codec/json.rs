//! Arguments as JSON: an array by position or an object by name. Their errors are read by people who wrote
//! the arguments by hand, so they say which argument is wrong and what the function takes.

use serde::Deserialize;
use serde::de::value::Error as ValueError;
use serde::de::{Deserializer, Visitor};
use serde_json::Value;

use super::arguments::{BadArguments, Parameter};

/// The arguments in the order of the parameters; `None` for one that was left out.
pub(crate) fn arguments(
    name: &str,
    parameters: &'static [Parameter],
    bytes: &[u8],
) -> Result<Vec<Option<Value>>, BadArguments> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| BadArguments::new(format!("the arguments are not JSON: {error}")))?;
    match value {
        Value::Array(values) => by_position(name, parameters, values),
        Value::Object(values) => by_name(name, parameters, values),
        other => Err(BadArguments::new(format!(
            "the arguments are {}, and should be an array (by position) or an object (by name)",
            kind_of(&other)
        ))),
    }
}

/// The value of a parameter for which nothing was given: `None` if it is an option.
pub(crate) fn left_out<'de, T: Deserialize<'de>>(parameter: &Parameter) -> Result<T, BadArguments> {
    T::deserialize(LeftOut).map_err(|_| {
        BadArguments::new(format!(
            "missing argument `{}` ({})",
            parameter.name, parameter.type_name
        ))
    })
}

fn by_position(
    name: &str,
    parameters: &[Parameter],
    values: Vec<Value>,
) -> Result<Vec<Option<Value>>, BadArguments> {
    if values.len() > parameters.len() {
        let given = match values.len() {
            1 => "1 argument given".to_owned(),
            count => format!("{count} arguments given"),
        };
        return Err(BadArguments::new(format!("{given}, {}", takes(name, parameters))));
    }
    Ok(values.into_iter().map(Some).collect())
}

fn by_name(
    name: &str,
    parameters: &[Parameter],
    mut values: serde_json::Map<String, Value>,
) -> Result<Vec<Option<Value>>, BadArguments> {
    let ordered = parameters.iter().map(|parameter| values.remove(parameter.name)).collect();
    match values.keys().next() {
        None => Ok(ordered),
        Some(unknown) => {
            let near = parameters
                .iter()
                .map(|parameter| (strsim::jaro_winkler(unknown, parameter.name), parameter.name))
                .filter(|(likeness, _)| *likeness > 0.7)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map_or(String::from(";"), |(_, near)| format!("; did you mean `{near}`?"));
            let takes = takes(name, parameters);
            Err(BadArguments::new(format!("unknown argument `{unknown}`{near} {takes}")))
        }
    }
}

/// `` `thumbnail(path: &Path, size: u32)` takes 2 ``
fn takes(name: &str, parameters: &[Parameter]) -> String {
    let listed: Vec<_> = parameters
        .iter()
        .map(|parameter| format!("{}: {}", parameter.name, parameter.type_name))
        .collect();
    format!("`{name}({})` takes {}", listed.join(", "), parameters.len())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Deserializes to `None`, and to nothing else.
struct LeftOut;

impl<'de> Deserializer<'de> for LeftOut {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
        Err(serde::de::Error::custom("left out"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_none()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
