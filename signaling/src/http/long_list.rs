//! A JSON answer with a long list.
//!
//! Each element becomes text at once. A tree of all elements would take ten times the memory of the text, for each
//! request, and leave that much free memory in small pieces.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

/// The elements of a list, as text.
#[derive(Debug, Default)]
pub struct LongList {
    text: Vec<u8>,
    len: usize,
}

impl LongList {
    /// Adds an element.
    pub fn push(&mut self, element: &impl Serialize) {
        let end = self.text.len();
        if self.len > 0 {
            self.text.push(b',');
        }
        match serde_json::to_writer(&mut self.text, element) {
            Ok(()) => self.len += 1,
            // The answers have text keys and write to memory, so this does not happen; half an element would be no JSON.
            Err(_) => self.text.truncate(end),
        }
    }

    /// How many elements there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The object `head` with the list as its last member, of that name.
    ///
    /// # Panics
    /// When `head` is no object.
    pub fn inside(self, head: &Value, name: &'static str) -> JsonText {
        assert!(head.is_object(), "a list is a member of an object");
        let mut text = head.to_string().into_bytes();
        text.reserve_exact(self.text.len() + name.len() + 8);
        text.pop();
        if text.len() > 1 {
            text.push(b',');
        }
        text.extend(format!("\"{name}\":[").as_bytes());
        text.extend(&self.text);
        text.extend(b"]}");
        JsonText(text)
    }
}

/// An answer that is JSON already.
#[derive(Debug)]
pub struct JsonText(Vec<u8>);

impl IntoResponse for JsonText {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, "application/json")], Body::from(self.0)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_is_what_a_tree_would_give() {
        for head in [json!({}), json!({"a": 1, "b": {"c": []}})] {
            for elements in [vec![], vec![json!({"x": "\"},{"})], vec![json!(1), json!([]), json!("é")]] {
                let mut list = LongList::default();
                elements.iter().for_each(|element| list.push(element));
                assert_eq!((list.len(), list.is_empty()), (elements.len(), elements.is_empty()));
                let mut tree = head.clone();
                tree["list"] = json!(elements);
                assert_eq!(list.inside(&head, "list").0, tree.to_string().as_bytes());
            }
        }
    }
}
