//! As much JSON (RFC 8259) as the commands on standard input need.

use std::collections::HashMap;
use std::fmt::Write;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Object(HashMap<String, Value>),
}

static NULL: Value = Value::Null;

impl Value {
    /// Errors: at which byte it is not JSON.
    pub fn parse(text: &str) -> Result<Value, String> {
        let mut reader = Reader {
            bytes: text.as_bytes(),
            at: 0,
        };
        let value = reader.value(0)?;
        reader.space();
        if reader.at < reader.bytes.len() {
            return Err(reader.wrong());
        }
        Ok(value)
    }

    /// A field of an object; null where there is none.
    pub fn get(&self, name: &str) -> &Value {
        match self {
            Value::Object(fields) => fields.get(name).unwrap_or(&NULL),
            _ => &NULL,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn is_true(&self) -> bool {
        *self == Value::Bool(true)
    }

    /// Empty where it is no list.
    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(items) => items,
            _ => &[],
        }
    }
}

/// Appends `text` in quotes.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self) -> String {
        format!("not JSON at byte {}", self.at)
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.wrong())
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.space();
        match self.bytes.get(self.at) {
            _ if depth > 16 => Err(self.wrong()),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::Text),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        let mut fields = HashMap::new();
        self.take(b'{');
        if self.take(b'}') {
            return Ok(Value::Object(fields));
        }
        loop {
            self.space();
            let name = self.string()?;
            if !self.take(b':') {
                return Err(self.wrong());
            }
            fields.insert(name, self.value(depth + 1)?);
            if self.take(b'}') {
                return Ok(Value::Object(fields));
            }
            if !self.take(b',') {
                return Err(self.wrong());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        self.take(b'[');
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            if !self.take(b',') {
                return Err(self.wrong());
            }
        }
    }

    fn string(&mut self) -> Result<String, String> {
        if !self.take(b'"') {
            return Err(self.wrong());
        }
        let mut out = Vec::new();
        loop {
            let byte = *self.bytes.get(self.at).ok_or_else(|| self.wrong())?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(out).map_err(|_| self.wrong()),
                b'\\' => {
                    let escaped = *self.bytes.get(self.at).ok_or_else(|| self.wrong())?;
                    self.at += 1;
                    match escaped {
                        b'"' | b'\\' | b'/' => out.push(escaped),
                        b'n' => out.push(b'\n'),
                        b'r' => out.push(b'\r'),
                        b't' => out.push(b'\t'),
                        // Nothing that is said to us needs the rest.
                        _ => return Err(self.wrong()),
                    }
                }
                byte => out.push(byte),
            }
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let text = std::str::from_utf8(&rest[..end]).map_err(|_| self.wrong())?;
        let number = text.parse::<f64>().map_err(|_| self.wrong())?;
        self.at += end;
        Ok(Value::Number(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_read() {
        let value = Value::parse(r#" {"a": [1, -2.5e1, true, null, "x\"\\y"], "b": {}} "#).unwrap();
        let items = value.get("a").list();
        assert_eq!((items[0].number(), items[1].number()), (Some(1.0), Some(-25.0)));
        assert!(items[2].is_true() && items[3] == Value::Null);
        assert_eq!(items[4].text(), Some("x\"\\y"));
        assert_eq!(value.get("b").get("c"), &Value::Null);
        let mut out = String::new();
        quote(&mut out, "x\"\\\n");
        assert_eq!(out, "\"x\\\"\\\\\\u000a\"");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "[1", "{\"a\" 1}", "tru", "1 2", "\"x", "[,]", "nul"] {
            assert!(Value::parse(text).is_err(), "{}", text);
        }
        assert!(Value::parse(&"[".repeat(1000)).is_err());
    }
}
