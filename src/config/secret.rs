//! Reading secrets: given as `x`, `x_env` or `x_file`, exactly one of the three.
//!
//! Invariants: no message here ever holds a secret, nor what may be one by mistake. A secret that cannot stand in an
//! HTTP header is refused now rather than when it is sent.

use secrecy::{ExposeSecret, SecretString};

use super::field::Field;
use super::mistake::Mistake;
use super::read::Section;
use super::schema::secret_forms;
use super::tree::{Node, Place, Value, quoted};

impl<'a> Section<'a> {
    /// The secret `key`. `exposed`: it is used beyond this machine, so that writing it into the file deserves a warning.
    pub(super) fn secret(&self, key: &str, needed: bool, exposed: bool) -> Option<SecretString> {
        let [inline, env, file] = secret_forms(key);
        self.secret_as([&inline, &env, &file], key, needed, exposed)
    }

    /// The list of secrets `key`; each comes with its own table, where more may stand. `None`: it is wrong.
    pub(super) fn secrets(
        &self,
        key: &str,
        exposed: bool,
    ) -> Vec<(Option<SecretString>, Section<'a>)> {
        let allowed =
            "a list such as [{ env = \"NAME\" }], of { env = … }, { file = … } or { value = … }";
        let Some(field) = self.field(key) else {
            return Vec::new();
        };
        let Value::Array(items) = &field.node.value else {
            let mistake = field.mistake("wrong type").found(field.node.kind());
            self.mistake(mistake.allowed(allowed));
            return Vec::new();
        };
        let read = |(at, node): (usize, &'a Node)| {
            let item = Field {
                context: self.context,
                node,
                path: format!("{}[{at}]", field.path),
            };
            let Value::Table(_) = node.value else {
                self.mistake(
                    item.mistake("wrong type")
                        .found(node.kind())
                        .allowed(allowed),
                );
                return None;
            };
            let item = item.section()?;
            let secret = item.secret_as(["value", "env", "file"], "", true, exposed);
            Some((secret, item))
        };
        let read: Vec<_> = items.iter().enumerate().filter_map(read).collect();
        for (at, (secret, item)) in read.iter().enumerate() {
            let Some(secret) = secret else { continue };
            let same = |(other, _): &(Option<SecretString>, Section<'_>)| {
                other
                    .as_ref()
                    .is_some_and(|other| other.expose_secret() == secret.expose_secret())
            };
            if read.iter().take(at).any(same) {
                self.mistake(
                    Mistake::new(
                        &item.at,
                        item.path.clone(),
                        "this is the same secret as one above",
                    )
                    .remedy("take one of the two out"),
                );
            }
        }
        read
    }

    /// `forms`: how the value itself, the variable and the file are given here.
    fn secret_as(
        &self,
        forms: [&str; 3],
        key: &str,
        needed: bool,
        exposed: bool,
    ) -> Option<SecretString> {
        let [inline, env, file] = forms;
        let path = match key {
            "" => self.path.clone(),
            key => self.key(key),
        };
        let given: Vec<&str> = forms.into_iter().filter(|form| self.has(form)).collect();
        let one_of =
            format!("exactly one of {env} = \"NAME\", {file} = \"PATH\", {inline} = \"…\"");
        match given.as_slice() {
            [] => {
                if needed {
                    self.mistake(
                        Mistake::new(&self.at, path, "this secret is required").allowed(one_of),
                    );
                }
                None
            }
            [one] => {
                let field = self.field(one)?;
                let Value::Text(text) = &field.node.value else {
                    let mistake = field.mistake("wrong type").found(field.node.kind());
                    self.mistake(mistake.allowed("a string"));
                    return None;
                };
                let secret = if *one == env {
                    self.in_variable(&field, text)
                } else if *one == file {
                    self.in_file(&field, text)
                } else {
                    if exposed {
                        self.context.notes.warn(
                            &field.node.at,
                            field.path.clone(),
                            format!("a secret in a configuration file is soon in backups and repositories; better {env} or {file}"),
                        );
                    }
                    Some(text.clone())
                }?;
                self.usable(&field, secret)
            }
            several => {
                let places = several.iter().map(|form| self.place(form));
                let last = places.max_by_key(Place::line);
                let last = last.unwrap_or_else(|| self.at.clone());
                self.mistake(
                    Mistake::new(&last, path, "this secret is given more than once")
                        .found(given.join(" and "))
                        .allowed(one_of)
                        .remedy("keep one of them"),
                );
                None
            }
        }
    }

    fn in_variable(&self, field: &Field<'_>, name: &str) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || !name.chars().all(plain)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            self.mistake(
                field
                    .mistake("this is not the name of an environment variable")
                    .found("a string that is not shown, since it may be the secret itself")
                    .allowed("letters, digits and underscores, such as \"ACME_BRAZE_KEY\""),
            );
            return None;
        }
        let value = self.context.env.get(name);
        if value.is_none() {
            // By convention names are upper case; anything else may be the secret itself, put under the wrong key.
            let shown = if name.chars().any(|c| c.is_ascii_lowercase()) {
                "named here"
            } else {
                name
            };
            self.mistake(
                field
                    .mistake(&format!("the environment variable {shown} is not set"))
                    .remedy("set it, or give the secret in another way"),
            );
        }
        value.map(str::to_owned)
    }

    fn in_file(&self, field: &Field<'_>, path: &str) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) => {
                let why = match error.kind() {
                    std::io::ErrorKind::InvalidData => "it is not text".to_owned(),
                    _ => error.to_string(),
                };
                // A bare word may be the secret itself, put under the wrong key.
                let name = if path.contains(['/', '\\', '.']) {
                    quoted(path)
                } else {
                    "named here".into()
                };
                self.mistake(
                    field
                        .mistake(&format!("the file {name} cannot be read: {why}"))
                        .remedy("the account that runs the relay must be able to read it"),
                );
                None
            }
        }
    }

    fn usable(&self, field: &Field<'_>, secret: String) -> Option<SecretString> {
        let problem = if secret.is_empty() {
            "this secret is empty"
        } else if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            "this secret holds white space, control characters or letters beyond ASCII, which no HTTP header carries"
        } else {
            return Some(SecretString::from(secret));
        };
        self.mistake(
            field
                .mistake(problem)
                .remedy("look whether it was copied whole and without quotes"),
        );
        None
    }
}
