//! Rust text as the house rules read it: comments and strings blanked, tests told apart, paths spelt out.
//!
//! Invariants: blanking moves nothing, so that every offset and line is that of the file. It reads what rustfmt leaves;
//! it is no compiler, and what a macro would expand to is not seen.

/// One file.
pub struct Source {
    /// From the top of the repository, `/` between folders.
    pub path: String,
    /// As it is.
    pub raw: String,
    /// The same length, without what stands in comments, strings and characters.
    pub code: String,
    /// Where tests begin and end.
    tests: Vec<(usize, usize)>,
    /// Where modules within the file begin and end.
    modules: Vec<(usize, usize)>,
}

/// A path that stands in the code, with the braces of its `use` taken apart.
pub struct Found {
    /// `a::b::c`, in pieces.
    pub segments: Vec<String>,
    /// Where its first piece stands.
    pub offset: usize,
}

impl Source {
    /// Reads a file's text.
    pub fn new(path: &str, raw: &str) -> Source {
        let code = blank(raw);
        let whole =
            path.ends_with("/tests.rs") || path.contains("/tests/") || !path.starts_with("src/");
        let tests = if whole {
            vec![(0, code.len())]
        } else {
            test_items(&code)
        };
        Source {
            path: path.to_owned(),
            raw: raw.to_owned(),
            tests,
            modules: inline_modules(&code),
            code,
        }
    }

    /// `path:line: ` of an offset.
    pub fn at(&self, offset: usize) -> String {
        format!("{}:{}: ", self.path, self.line(offset))
    }

    /// The line of an offset, from 1.
    fn line(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count() + 1
    }

    /// Whether a test stands there.
    pub fn is_test(&self, offset: usize) -> bool {
        within(&self.tests, offset) > 0
    }

    /// Where `needle` stands in the code, beginning and ending with whole words.
    pub fn words(&self, needle: &str) -> Vec<usize> {
        let bytes = self.code.as_bytes();
        let joins = |outside: Option<&u8>, inside: Option<&u8>| {
            outside.is_some_and(|it| is_word(*it)) && inside.is_some_and(|it| is_word(*it))
        };
        self.code
            .match_indices(needle)
            .map(|(offset, _)| offset)
            .filter(|offset| {
                let before = offset.checked_sub(1).and_then(|at| bytes.get(at));
                !joins(before, needle.as_bytes().first())
                    && !joins(bytes.get(offset + needle.len()), needle.as_bytes().last())
            })
            .collect()
    }

    /// How many lines stand outside tests.
    pub fn own_lines(&self) -> usize {
        let mut offset = 0;
        let lines = self.code.split_inclusive('\n');
        lines
            .filter(|line| {
                let test = self.is_test(offset);
                offset += line.len();
                !test
            })
            .count()
    }

    /// Every path of at least two pieces, and every single name that a `use` brings in.
    pub fn paths(&self) -> Vec<Found> {
        let bytes = self.code.as_bytes();
        let mut found = Vec::new();
        let mut offset = 0;
        while offset < bytes.len() {
            if !is_word(bytes[offset]) {
                offset += 1;
                continue;
            }
            let before = self.code[..offset].trim_end();
            let mut trees = Vec::new();
            let end = tree(&self.code, offset, &[], &mut trees);
            let used = before.ends_with("use") || before.ends_with("use ::");
            for (segments, offset) in trees {
                if segments.len() > 1 || used {
                    found.push(Found { segments, offset });
                }
            }
            offset = end.max(offset + 1);
        }
        found
    }

    /// The path from the crate's root, if it is one of ours: `crate::…`, `super::…`, `self::…`.
    pub fn resolve(&self, found: &Found) -> Option<Vec<String>> {
        let mut rest = found.segments.as_slice();
        let mut from = match rest.first().map(String::as_str) {
            Some("crate" | "braze_relay") => {
                return Some(rest[1..].to_vec());
            }
            Some("super" | "self") => self.module(),
            _ => return None,
        };
        // Inside a module of the file, the first `super` is the file itself.
        let mut inside = within(&self.modules, found.offset);
        while let Some((first, behind)) = rest.split_first() {
            match first.as_str() {
                "super" if inside > 0 => inside -= 1,
                "super" => drop(from.pop()),
                "self" => {}
                _ => break,
            }
            rest = behind;
        }
        from.extend_from_slice(rest);
        Some(from)
    }

    /// The module that this file is.
    pub fn module(&self) -> Vec<String> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let path = path.trim_end_matches("/mod");
        match path {
            "lib" | "main" => Vec::new(),
            _ => path.split('/').map(str::to_owned).collect(),
        }
    }
}

fn within(ranges: &[(usize, usize)], offset: usize) -> usize {
    let holds = |range: &&(usize, usize)| range.0 <= offset && offset < range.1;
    ranges.iter().filter(holds).count()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// `raw` with everything in comments, strings and characters made blank.
fn blank(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut code = String::with_capacity(bytes.len());
    let mut offset = 0;
    while offset < bytes.len() {
        let length = silent(&bytes[offset..]);
        for byte in &bytes[offset..offset + length.max(1)] {
            let kept = *byte == b'\n' || (length == 0 && byte.is_ascii());
            code.push(if kept { char::from(*byte) } else { ' ' });
        }
        offset += length.max(1);
    }
    code
}

/// How long the comment, string or character is that begins here; 0: none does.
fn silent(rest: &[u8]) -> usize {
    let until = |from: usize, end: &[u8]| {
        let found = rest[from..].windows(end.len()).position(|it| it == end);
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    match rest {
        [b'/', b'/', ..] => rest.iter().take_while(|it| **it != b'\n').count(),
        [b'/', b'*', ..] => until(2, b"*/"),
        [b'"', ..] => quoted(rest, b'"'),
        [b'r', ..] => {
            let hashes = rest[1..].iter().take_while(|it| **it == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return 0;
            }
            let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            until(2 + hashes, &end)
        }
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        // A character, but not a lifetime: the closing quote stands behind one character, of up to four bytes.
        [b'\'', first, ..] => {
            let width = match first {
                0..0xc0 => 1,
                0xc0..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if rest.get(1 + width) == Some(&b'\'') {
                2 + width
            } else {
                0
            }
        }
        _ => 0,
    }
}

/// How long what stands between two quotes is, the quotes included.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Where the brace or bracket that opens at `open` closes.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The text of the attribute that begins at `offset`.
pub fn attribute(code: &str, offset: usize) -> &str {
    let open = offset + code[offset..].find('[').unwrap_or(0);
    &code[offset..closing(code, open)]
}

/// The items under `#[cfg(test)]`.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    for (start, mark) in code.match_indices("#[cfg(test)]") {
        let mut from = start + mark.len();
        while code[from..].trim_start().starts_with('#') {
            let next = from + code[from..].find('#').unwrap_or(0);
            from = next + attribute(code, next).len();
        }
        let body = code[from..].find(['{', ';']).map(|at| from + at);
        let end = match body {
            Some(at) if code[at..].starts_with('{') => closing(code, at),
            Some(at) => at + 1,
            None => code.len(),
        };
        items.push((start, end));
    }
    items
}

/// `mod name { … }`.
fn inline_modules(code: &str) -> Vec<(usize, usize)> {
    let mut modules = Vec::new();
    for (start, _) in code.match_indices("mod ") {
        let name = &code[start + 4..];
        let width = name.bytes().take_while(|byte| is_word(*byte)).count();
        if name[width..].trim_start().starts_with('{') {
            let open = start + 4 + name.find('{').unwrap_or(0);
            modules.push((start, closing(code, open)));
        }
    }
    modules
}

/// Reads the path or `use` tree at `offset`; returns where it ends.
fn tree(
    code: &str,
    offset: usize,
    before: &[String],
    out: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let start = offset;
    let mut offset = offset;
    let mut segments = before.to_vec();
    loop {
        offset += blanks(code, offset);
        let rest = &code.as_bytes()[offset..];
        match rest.first() {
            Some(b'{') => {
                let end = closing(code, offset);
                offset += 1;
                while offset < end - 1 {
                    offset = tree(code, offset, &segments, out).max(offset + 1);
                    // Past `as name` and the comma.
                    while offset < end - 1 && code.as_bytes()[offset] != b',' {
                        offset += 1;
                    }
                    offset += 1;
                    offset += blanks(code, offset);
                }
                return end;
            }
            Some(b'*') => {
                segments.push("*".into());
                offset += 1;
                break;
            }
            Some(byte) if is_word(*byte) => {
                let width = rest.iter().take_while(|it| is_word(**it)).count();
                segments.push(code[offset..offset + width].to_owned());
                offset += width;
                if !code[offset..].starts_with("::") {
                    break;
                }
                offset += 2;
            }
            // A turbofish: what stands in it is read as paths of its own.
            _ => break,
        }
    }
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    if segments.len() > before.len() || !before.is_empty() {
        out.push((segments, start + blanks(code, start)));
    }
    offset
}

fn blanks(code: &str, offset: usize) -> usize {
    let rest = &code[offset.min(code.len())..];
    rest.len() - rest.trim_start().len()
}
