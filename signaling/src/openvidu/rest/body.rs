//! Reading the JSON bodies applications send.

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::super::json;
use super::Failure;
use super::fields::Shape;

/// A JSON object whose fields are read one by one. A field that is `null` is not there.
#[derive(Debug, Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// Reads a body; none at all is an empty object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        match json::parse(bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(Failure::bad("the body is no JSON object")),
            Err(error) => Err(Failure::bad(format!("the body is no JSON: {error}"))),
        }
    }

    /// Checks it against what the OpenAPI file says of it.
    pub(super) fn check(&self, shape: &Shape) -> Result<(), Failure> {
        shape.check(&self.0).map_err(Failure::bad)
    }

    pub(super) fn from_value(value: &Value) -> Option<Self> {
        value.as_object().cloned().map(Self)
    }

    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        self.typed(name, "a text", Value::as_str)
    }

    pub(super) fn bool(&self, name: &str) -> Result<Option<bool>, Failure> {
        self.typed(name, "true or false", Value::as_bool)
    }

    pub(super) fn u32(&self, name: &str) -> Result<Option<u32>, Failure> {
        let number = |value: &Value| value.as_u64().and_then(|value| u32::try_from(value).ok());
        self.typed(name, "a whole number of at most 4294967295", number)
    }

    /// One of the given texts.
    pub(super) fn choice<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let unknown = || Failure::bad(format!("{name} has no such value"));
        parse(text).map(Some).ok_or_else(unknown)
    }

    fn typed<'a, T>(
        &'a self,
        name: &str,
        kind: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let wrong = || Failure::bad(format!("{name} must be {kind}"));
        self.value(name).map(|value| read(value).ok_or_else(wrong)).transpose()
    }
}

/// A missing session where the call answers 404.
pub(super) const fn not_found() -> Failure {
    Failure::empty(StatusCode::NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_there_or_not_or_of_the_wrong_type() {
        let body = Body::parse(br#"{"a":"x","n":null,"b":true,"u":7,"neg":-1}"#).unwrap();
        assert_eq!(body.text("a"), Ok(Some("x")));
        assert_eq!(body.text("n"), Ok(None));
        assert_eq!(body.bool("b"), Ok(Some(true)));
        assert_eq!(body.u32("u"), Ok(Some(7)));
        assert!(body.text("b").is_err() && body.bool("a").is_err() && body.u32("neg").is_err());
        assert!(body.choice("a", |text| (text == "y").then_some(())).is_err());
    }

    #[test]
    fn no_body_is_an_empty_object_and_garbage_is_refused() {
        assert!(Body::parse(b"").unwrap().value("a").is_none());
        for bad in ["[]", "1", "{", "{\"a\":1,\"a\":2}"] {
            assert_eq!(Body::parse(bad.as_bytes()).unwrap_err().status, StatusCode::BAD_REQUEST, "{bad}");
        }
    }
}
