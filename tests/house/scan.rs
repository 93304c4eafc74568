//! A reader of Rust text that knows just enough: words, paths, and which module and which test they stand in.

/// One word or sign of a source file, comments and literals left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) text: &'t str,
    /// From 1.
    pub(crate) line: usize,
}

/// Splits a file into words and signs.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let skipped = skip_length(&text[at..]);
        let length = if skipped > 0 { skipped } else { word_length(&text[at..]) };
        let piece = &text[at..at + length];
        if skipped == 0 && !piece.trim().is_empty() {
            found.push(Token { text: piece, line });
        }
        line += piece.matches('\n').count();
        at += length;
    }
    found
}

/// Length of a comment or literal at the start of `rest`, 0 when there is none.
fn skip_length(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    for prefix in ["br", "cr", "r"] {
        if let Some(raw) = rest.strip_prefix(prefix).and_then(raw_string_length) {
            return prefix.len() + raw;
        }
    }
    for prefix in ["b", "c", ""] {
        let quoted = rest.strip_prefix(prefix).filter(|quoted| quoted.starts_with('"'));
        if let Some(quoted) = quoted {
            return prefix.len() + quoted_length(quoted, '"');
        }
    }
    char_literal_length(rest)
}

/// Rust's block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str) -> Option<usize> {
    let hashes = rest.bytes().take_while(|&byte| byte == b'#').count();
    let body = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(hashes + 1 + length)
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'a'` and `'\n'` are literals, `'a` is a lifetime.
fn char_literal_length(rest: &str) -> usize {
    let Some(body) = rest.strip_prefix('\'') else { return 0 };
    let mut letters = body.chars();
    match (letters.next(), letters.next()) {
        (Some('\\'), _) => quoted_length(rest, '\''),
        (Some(letter), Some('\'')) => letter.len_utf8() + 2,
        _ => 0,
    }
}

fn word_length(rest: &str) -> usize {
    let word = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    match word {
        0 if rest.starts_with("::") => 2,
        0 => rest.chars().next().map_or(1, char::len_utf8),
        length => length,
    }
}

/// A path in the text, spelled from the crate's root: `crate::wire::rtp`, with groups spread out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathUse {
    /// Segments after the root; the last may be `*`, `self` or an item.
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// Every path of a file that starts at `crate`, `super` or the crate's own name. `module` is where the file hangs in
/// the tree: `["wire", "rtp"]`.
pub(crate) fn crate_paths(text: &str, module: &[&str], crate_name: &str) -> Vec<PathUse> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut inside = Inside::new(module);
    let mut at = 0;
    while at < tokens.len() {
        inside.step(&tokens, at);
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text);
        let starts_path = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        // `pub(in crate::x)` says who may see, it does not look.
        let root = starts_path && before != "::" && before != "in";
        let base = match tokens[at].text {
            "crate" if root => Some(Vec::new()),
            name if root && name == crate_name => Some(Vec::new()),
            "super" if root => Some(inside.parent()),
            _ => None,
        };
        if let Some(base) = base {
            spread(&tokens, at + 2, base, &mut found);
        }
        at += 1;
    }
    found
}

/// Follows one path from the token after a `::`, into its groups; returns the token behind it.
fn spread(tokens: &[Token<'_>], mut at: usize, mut path: Vec<String>, found: &mut Vec<PathUse>) -> usize {
    loop {
        let Some(token) = tokens.get(at) else { return at };
        match token.text {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at =
                        if tokens[at].text == "," { at + 1 } else { spread(tokens, at, path.clone(), found) };
                }
                return at + 1;
            }
            "super" => {
                path.pop();
            }
            segment => path.push(segment.to_owned()),
        }
        if tokens.get(at + 1).is_none_or(|next| next.text != "::") {
            let renamed = tokens.get(at + 1).is_some_and(|next| next.text == "as");
            found.push(PathUse { segments: path, line: token.line });
            return at + if renamed { 3 } else { 1 };
        }
        at += 2;
    }
}

/// The module a token stands in, with inline modules counted.
struct Inside {
    module: Vec<String>,
    depth: usize,
    inline: Vec<usize>,
}

impl Inside {
    fn new(module: &[&str]) -> Self {
        Self { module: module.iter().map(|&name| name.to_owned()).collect(), depth: 0, inline: Vec::new() }
    }

    fn step(&mut self, tokens: &[Token<'_>], at: usize) {
        match tokens[at].text {
            "{" => {
                self.depth += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    self.module.push(tokens[at - 1].text.to_owned());
                    self.inline.push(self.depth);
                }
            }
            "}" => {
                if self.inline.last() == Some(&self.depth) {
                    self.inline.pop();
                    self.module.pop();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn parent(&self) -> Vec<String> {
        self.module[..self.module.len().saturating_sub(1)].to_vec()
    }
}

/// The tokens that are no part of a `#[cfg(test)] mod`.
pub(crate) fn product_tokens<'t>(tokens: &[Token<'t>]) -> Vec<Token<'t>> {
    const TEST_MODULE: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_test = TEST_MODULE
            .iter()
            .enumerate()
            .all(|(off, &text)| tokens.get(at + off).is_some_and(|t| t.text == text));
        if is_test && tokens.get(at + 9).is_some_and(|open| open.text == "{") {
            at = closing(tokens, at + 9) + 1;
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

/// The brace that closes the one at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" => depth += 1,
            "}" if depth == 1 => return at,
            "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}
