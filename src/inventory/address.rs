//! Host names as inventories write them: with a port, and with ranges (`node[01:12]`, `db-[a:c].example.org`).

/// More hosts than this out of one word are a mistake.
const MOST: usize = 10_000;

/// The hosts that a word names, and the port behind it.
pub fn expand(word: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (name, port) = split_port(word)?;
    if name.is_empty() {
        return Err("a host has no name".to_owned());
    }
    if name == "---" {
        return Err("`---` begins a YAML file, not a host; give the file the extension .yml".to_owned());
    }
    let mut hosts = Vec::new();
    // A bracketed IPv6 address is no range.
    match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).filter(|n| n.parse::<std::net::Ipv6Addr>().is_ok()) {
        Some(address) => hosts.push(address.to_owned()),
        None => ranges(name, &mut hosts)?,
    }
    Ok((hosts, port))
}

/// `host:22`, `[::1]:22`; a bare IPv6 address has no port.
fn split_port(word: &str) -> Result<(&str, Option<u16>), String> {
    if word.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((word, None));
    }
    // A colon inside brackets belongs to a range or an address.
    let after = word.rfind(']').map_or(0, |at| at + 1);
    match word[after..].find(':') {
        None => Ok((word, None)),
        Some(at) => {
            let (name, port) = (&word[..after + at], &word[after + at + 1..]);
            let port = port.parse().map_err(|_| format!("`{port}` is not a port (1 to 65535)"))?;
            Ok((name, Some(port)))
        }
    }
}

fn ranges(name: &str, hosts: &mut Vec<String>) -> Result<(), String> {
    let Some(open) = name.find('[') else {
        hosts.push(name.to_owned());
        return if hosts.len() > MOST { Err(format!("more than {MOST} hosts")) } else { Ok(()) };
    };
    let close = name[open..].find(']').ok_or("a range lacks its `]`")? + open;
    let (head, tail) = (&name[..open], &name[close + 1..]);
    let bounds: Vec<&str> = name[open + 1..close].split(':').collect();
    let (first, last, step) = match bounds.as_slice() {
        [first, last] => (*first, *last, "1"),
        [first, last, step] => (*first, *last, *step),
        _ => return Err("a range is [first:last] or [first:last:step]".to_owned()),
    };
    if last.is_empty() {
        return Err("a range must say where it ends".to_owned());
    }
    let step: usize = step.parse().ok().filter(|s| *s > 0).ok_or("a range's step is a whole number from 1")?;
    for word in words(if first.is_empty() { "0" } else { first }, last, step)? {
        ranges(&format!("{head}{word}{tail}"), hosts)?;
    }
    Ok(())
}

fn words(first: &str, last: &str, step: usize) -> Result<Vec<String>, String> {
    let letter = |text: &str| {
        let mut letters = ('a'..='z').chain('A'..='Z');
        let only = text.chars().next().filter(|_| text.chars().count() == 1)?;
        letters.position(|l| l == only)
    };
    if let (Some(from), Some(to)) = (letter(first), letter(last)) {
        if from > to {
            return Err("a range must not end before it begins".to_owned());
        }
        let letters: Vec<char> = ('a'..='z').chain('A'..='Z').collect();
        return Ok((from..=to).step_by(step).map(|at| letters[at].to_string()).collect());
    }
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number and no letter"));
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err("a range must not end before it begins".to_owned());
    }
    let padded = first.starts_with('0') && first.len() > 1;
    if padded && first.len() != last.len() {
        return Err("a range with leading zeros has them at both ends, in the same length".to_owned());
    }
    if (to - from) / step as u64 > MOST as u64 {
        return Err(format!("more than {MOST} hosts"));
    }
    let width = if padded { first.len() } else { 0 };
    Ok((from..=to).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn names_ports_and_ranges() {
        let cases = [
            ("pve1", "pve1", None),
            ("pve1.example.org:2222", "pve1.example.org", Some(2222)),
            ("node[1:3]", "node1 node2 node3", None),
            ("node[01:03]:22", "node01 node02 node03", Some(22)),
            ("n[0:9:4]", "n0 n4 n8", None),
            ("n[:2]", "n0 n1 n2", None),
            ("db-[a:c].x", "db-a.x db-b.x db-c.x", None),
            ("r[1:2]n[a:b]", "r1na r1nb r2na r2nb", None),
            ("192.0.2.[1:2]", "192.0.2.1 192.0.2.2", None),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]:2222", "2001:db8::1", Some(2222)),
        ];
        for (word, hosts, port) in cases {
            let (found, at) = expand(word).unwrap_or_else(|why| panic!("{word}: {why}"));
            assert_eq!((found.join(" ").as_str(), at), (hosts, port), "{word}");
        }
        for bad in ["n[3:1]", "n[1:]", "n[1", "n[01:100]", "n[1:2:0]", "host:", "host:99999", "n[1:x]", "n[1:9999999]"]
        {
            assert!(expand(bad).is_err(), "{bad}");
        }
    }
}
