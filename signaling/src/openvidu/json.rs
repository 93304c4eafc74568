//! JSON as strangers send it: bounded in depth, and without duplicate keys.
//!
//! Two readers that disagree about which of two equal keys counts are how messages get forged, so a text with
//! duplicate keys is no JSON here. The length is bounded before a text gets this far.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Deepest nesting accepted.
pub const DEPTH_MAX: usize = 32;

/// Reads one JSON text.
///
/// # Errors
/// When it is malformed, nested more than [`DEPTH_MAX`] deep or has a key twice in one object.
pub fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: DEPTH_MAX }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads a value that may be nested `depth` levels more.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key is there twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ordinary_json_is_read_as_it_stands() {
        let text = br#"{"b":[1,-2,2.5,true,null],"a":{"x":"\u00e9\n"}}"#;
        assert_eq!(parse(text).unwrap(), json!({"b": [1, -2, 2.5, true, null], "a": {"x": "é\n"}}));
        assert_eq!(parse(b"18446744073709551616").unwrap(), json!(18_446_744_073_709_551_616.0));
    }

    #[test]
    fn what_is_no_json_or_is_ambiguous_is_refused() {
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(deep(DEPTH_MAX).as_bytes()).is_ok());
        let too_deep = deep(DEPTH_MAX + 1);
        let far_too_deep = "[".repeat(60_000);
        let texts = [
            "",
            " ",
            "{",
            "{]",
            "nul",
            "{\"a\":1,}",
            "1 2",
            "{\"a\":1,\"a\":1}",
            "[{\"a\":1,\"b\":2,\"a\":1}]",
            "{\"a\":1,\"\\u0061\":2}",
            "\"\u{0}\"",
            &too_deep,
            &far_too_deep,
            "1e999",
        ];
        for text in texts {
            assert!(parse(text.as_bytes()).is_err(), "{}", text.chars().take(40).collect::<String>());
        }
        assert!(parse(b"\"\xff\"").is_err(), "broken UTF-8");
    }
}
