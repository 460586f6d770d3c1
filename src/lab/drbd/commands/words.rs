//! Arguments: options with and without values, wherever they stand between the words.

/// Options and words of one call. `--name=value`, `--name value` for names in `with_value`, `-x`.
#[derive(Debug, Clone, Default)]
pub struct Words {
    pub options: Vec<(String, Option<String>)>,
    pub words: Vec<String>,
}

impl Words {
    pub fn read(args: &[String], with_value: &[&str]) -> Self {
        let mut found = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            match arg.strip_prefix('-') {
                None | Some("") => found.words.push(arg.clone()),
                Some("-") => {
                    found.words.extend(rest.by_ref().cloned());
                }
                Some(body) => {
                    let name = body.trim_start_matches('-');
                    match name.split_once('=') {
                        Some((name, value)) => found.options.push((name.into(), Some(value.into()))),
                        None if with_value.contains(&name) => {
                            found.options.push((name.into(), rest.next().cloned()));
                        }
                        None => found.options.push((name.into(), None)),
                    }
                }
            }
        }
        found
    }

    pub fn has(&self, names: &[&str]) -> bool {
        self.options.iter().any(|(n, _)| names.contains(&n.as_str()))
    }

    pub fn value(&self, names: &[&str]) -> Option<&str> {
        self.options.iter().rev().find(|(n, _)| names.contains(&n.as_str())).and_then(|(_, v)| v.as_deref())
    }

    /// The first option that is none of these.
    pub fn unknown(&self, known: &[&str]) -> Option<&str> {
        self.options.iter().map(|(n, _)| n.as_str()).find(|n| !known.contains(n))
    }
}
