//! One text frame from a client.

use serde_json::{Map, Value};

use super::super::errors::{self, RpcError};
use super::super::json;

/// Longest method name and longest id in text form, in bytes.
const NAME_LEN_MAX: usize = 64;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its number (or text), to be given back.
    pub id: Value,
    /// What is asked.
    pub method: String,
    /// With what.
    pub params: Params,
}

/// The parameters of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(Map<String, Value>);

impl Request {
    /// Reads a text frame.
    ///
    /// # Errors
    /// With the id to answer to, `null` where it is not known. Everything of this kind is the client's fault.
    pub fn parse(text: &str) -> Result<Self, (Value, RpcError)> {
        let value = json::parse(text.as_bytes())
            .map_err(|error| (Value::Null, RpcError::new(errors::PARSE, format!("no JSON: {error}"))))?;
        let Value::Object(mut object) = value else { return Err(invalid(Value::Null, "not an object")) };
        let id = match object.remove("id") {
            Some(Value::Number(id)) if id.is_u64() || id.is_i64() => Value::Number(id),
            Some(Value::String(id)) if id.len() <= NAME_LEN_MAX => Value::String(id),
            _ => return Err(invalid(Value::Null, "no usable id")),
        };
        if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(invalid(id, "not JSON-RPC 2.0"));
        }
        let method = match object.remove("method") {
            Some(Value::String(method)) if method.len() <= NAME_LEN_MAX => method,
            _ => return Err(invalid(id, "no method")),
        };
        let params = match object.remove("params") {
            Some(Value::Object(params)) => Params(params),
            None | Some(Value::Null) => Params::default(),
            Some(_) => return Err(invalid(id, "params is not an object")),
        };
        Ok(Self { id, method, params })
    }
}

fn invalid(id: Value, why: &str) -> (Value, RpcError) {
    (id, RpcError::new(errors::REQUEST, format!("no request: {why}")))
}

impl Params {
    /// A text.
    ///
    /// # Errors
    /// When it is missing or something else.
    pub fn text(&self, name: &str) -> Result<&str, RpcError> {
        self.0.get(name).and_then(Value::as_str).ok_or_else(|| RpcError::param(name))
    }

    /// A text that may be missing.
    ///
    /// # Errors
    /// When it is something else.
    pub fn optional_text(&self, name: &str) -> Result<Option<&str>, RpcError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(RpcError::param(name)),
        }
    }

    /// A yes or no that may be missing.
    ///
    /// # Errors
    /// When it is something else.
    pub fn optional_bool(&self, name: &str) -> Result<Option<bool>, RpcError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(RpcError::param(name)),
        }
    }

    /// A number that may be missing.
    pub fn optional_u64(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64)
    }

    /// Anything that may be missing.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_of_the_client_library_are_read() {
        let ping = Request::parse(r#"{"jsonrpc":"2.0","method":"ping","id":0}"#).unwrap();
        assert_eq!((ping.id, ping.method.as_str(), ping.params), (json!(0), "ping", Params::default()));
        let request =
            Request::parse(r#"{"jsonrpc":"2.0","method":"m","params":{"a":"b","n":null},"id":7}"#).unwrap();
        assert_eq!(request.params.text("a"), Ok("b"));
        assert_eq!(request.params.optional_text("n"), Ok(None));
        assert!(request.params.text("n").is_err());
        assert!(request.params.optional_bool("a").is_err());
    }

    #[test]
    fn garbage_is_told_from_what_is_only_no_request() {
        let parse = errors::PARSE;
        let request = errors::REQUEST;
        let deep = format!(
            r#"{{"jsonrpc":"2.0","method":"m","id":1,"params":{}{}}}"#,
            "[".repeat(40),
            "]".repeat(40)
        );
        let cases = [
            ("", parse, json!(null)),
            ("{", parse, json!(null)),
            (&deep, parse, json!(null)),
            (r#"{"jsonrpc":"2.0","method":"a","method":"b","id":1}"#, parse, json!(null)),
            (r#"[{"jsonrpc":"2.0","method":"ping","id":1}]"#, request, json!(null)),
            ("1", request, json!(null)),
            (r#"{"jsonrpc":"2.0","method":"ping"}"#, request, json!(null)),
            (r#"{"jsonrpc":"2.0","method":"ping","id":{}}"#, request, json!(null)),
            (r#"{"jsonrpc":"2.0","method":"ping","id":1.5}"#, request, json!(null)),
            (r#"{"jsonrpc":"2.0","method":"ping","id":18446744073709551616}"#, request, json!(null)),
            (r#"{"method":"ping","id":1}"#, request, json!(1)),
            (r#"{"jsonrpc":"1.0","method":"ping","id":1}"#, request, json!(1)),
            (r#"{"jsonrpc":"2.0","result":{},"id":1}"#, request, json!(1)),
            (r#"{"jsonrpc":"2.0","method":7,"id":1}"#, request, json!(1)),
            (r#"{"jsonrpc":"2.0","method":"ping","params":[],"id":1}"#, request, json!(1)),
        ];
        for (text, code, id) in cases {
            let (given, error) = Request::parse(text).unwrap_err();
            assert_eq!((error.code, given), (code, id), "{text}");
        }
    }
}
