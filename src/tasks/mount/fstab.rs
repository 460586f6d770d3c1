//! `/etc/fstab`, edited without loss: comments, order and the spelling of other lines stay.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub source: String,
    pub target: String,
    pub fstype: String,
    pub options: String,
    pub dump: u32,
    pub pass: u32,
}

/// Spaces and the like are written as octal: fstab(5), and the kernel in its tables.
pub fn escape(field: &str) -> String {
    field
        .replace('\\', "\\134")
        .replace(' ', "\\040")
        .replace('\t', "\\011")
        .replace('\n', "\\012")
        .replace('#', "\\043")
}

pub fn unescape(field: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let digits = tail.get(..3).filter(|_| first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(line: &str) -> Option<Entry> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let fields: Vec<&str> = line.split_whitespace().take_while(|field| !field.starts_with('#')).collect();
    let [source, target, fstype, more @ ..] = fields.as_slice() else { return None };
    let number = |at: usize| more.get(at).and_then(|text| text.parse().ok()).unwrap_or(0);
    let target = unescape(target);
    let trimmed = target.trim_end_matches('/');
    Some(Entry {
        source: unescape(source),
        target: if trimmed.is_empty() { target.clone() } else { trimmed.to_owned() },
        fstype: (*fstype).to_owned(),
        options: more.first().map_or_else(|| "defaults".to_owned(), |options| unescape(options)),
        dump: number(1),
        pass: number(2),
    })
}

fn is_for(line: &str, target: &str) -> bool {
    parse(line).is_some_and(|entry| entry.target == target)
}

pub fn has(text: &str, target: &str) -> bool {
    text.lines().any(|line| is_for(line, target))
}

/// With this entry in the place of the one for the same mount point, or at the end.
pub fn with(text: &str, entry: &Entry) -> String {
    let Entry { source, target, fstype, options, dump, pass } = entry;
    let wanted = format!("{} {} {fstype} {} {dump} {pass}\n", escape(source), escape(target), escape(options));
    let mut result = String::new();
    let mut placed = false;
    for line in text.split_inclusive('\n') {
        match parse(line) {
            Some(now) if now.target == *target => {
                // A second line for it would only shadow the first.
                if !placed {
                    result.push_str(if now == *entry { line } else { &wanted });
                }
                placed = true;
            }
            _ => result.push_str(line),
        }
    }
    if !placed {
        if !result.is_empty() && !result.ends_with('\n') {
            result.push('\n');
        }
        result.push_str(&wanted);
    }
    result
}

pub fn without(text: &str, target: &str) -> String {
    text.split_inclusive('\n').filter(|line| !is_for(line, target)).collect()
}
