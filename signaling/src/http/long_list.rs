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

    /// Adds an element that is text already.
    pub fn push_text(&mut self, element: &JsonText) {
        if self.len > 0 {
            self.text.push(b',');
        }
        self.text.extend(&element.0);
        self.len += 1;
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
        member(head, name, [b"[", &self.text, b"]"])
    }
}

/// An answer that is JSON already.
#[derive(Debug)]
pub struct JsonText(Vec<u8>);

impl JsonText {
    /// The text.
    #[cfg(test)]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap()
    }

    /// The object `head` with this as its last member, of that name.
    ///
    /// # Panics
    /// When `head` is no object.
    pub fn inside(self, head: &Value, name: &'static str) -> Self {
        member(head, name, [&self.0])
    }
}

/// The object `head` with one more member.
fn member<const N: usize>(head: &Value, name: &'static str, value: [&[u8]; N]) -> JsonText {
    assert!(head.is_object(), "a member belongs to an object");
    let mut text = head.to_string().into_bytes();
    text.reserve_exact(value.iter().map(|part| part.len()).sum::<usize>() + name.len() + 8);
    text.pop();
    if text.len() > 1 {
        text.push(b',');
    }
    text.extend(format!("\"{name}\":").as_bytes());
    value.iter().for_each(|part| text.extend(*part));
    text.push(b'}');
    JsonText(text)
}

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
                let text = list.inside(&head, "list");
                assert_eq!(text.0, tree.to_string().as_bytes());
                let (mut outer, mut lists) = (head.clone(), LongList::default());
                outer["inner"] = json!([tree, tree]);
                (0..2).for_each(|_| lists.push_text(&text));
                assert_eq!(lists.inside(&head, "inner").0, outer.to_string().as_bytes());
                outer["inner"] = tree;
                assert_eq!(text.inside(&head, "inner").0, outer.to_string().as_bytes());
            }
        }
    }
}
