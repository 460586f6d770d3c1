//! Texts of inventories with the values of passwords covered, for the lines that faults show.

use regex::Regex;
use std::sync::LazyLock;

/// A name that tells of a secret, and a value written after it. What names where a secret lies is none.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    let pattern =
        r#"(?i)([\w-]*(?:pass|passwd|password|secret|token)["']?\s*[=:]\s*)("[^"\n]*"|'[^'\n]*'|[^\s{\[,}|>][^\s,}]*)"#;
    Regex::new(pattern).expect("a pattern written here")
});

/// The same text, every place where it was.
pub fn mask(text: &str) -> String {
    let mut masked = text.to_owned();
    for found in SECRET.captures_iter(text) {
        let value = found.get(2).expect("the pattern has two groups");
        let harmless = matches!(value.as_str(), "prompt" | "null" | "~") || value.as_str().contains("{{");
        if !harmless {
            masked.replace_range(value.range(), &"*".repeat(value.len()));
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn secrets_are_covered_and_everything_else_stays_where_it_was() {
        let text = "ansible_password=hunter2 x=1\npassword: 'two words'\npassword: { env: NAME }\nsecret: prompt\n\
                    db_token: {{ lookup }}\npassport: yes\n";
        let masked = mask(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(
            masked,
            "ansible_password=******* x=1\npassword: ***********\npassword: { env: NAME }\nsecret: prompt\n\
             db_token: {{ lookup }}\npassport: yes\n"
        );
    }
}
