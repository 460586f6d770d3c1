//! Host patterns with Ansible's meaning: `a:b` or `a,b` (union), `:&b` (intersection), `:!b` (without), globs, `~regex`.

use super::Inventory;

/// The hosts a pattern selects, in inventory order (containers behind them, in the order named). A part that names
/// nothing known is an error that says so.
pub fn select(inventory: &Inventory, patterns: &[&str]) -> Result<Vec<String>, String> {
    let parts: Vec<String> = patterns.iter().flat_map(|p| split(p)).collect();
    let mut chosen: Vec<String> = Vec::new();
    let plain = |p: &&String| !p.starts_with(['!', '&']);
    if !parts.iter().any(|p| plain(&p)) {
        // `!pve3` alone means everybody else, as in Ansible.
        chosen.extend(inventory.hosts.iter().cloned());
    }
    for part in parts.iter().filter(plain) {
        for host in matching(inventory, part)? {
            if !chosen.contains(&host) {
                chosen.push(host);
            }
        }
    }
    for part in parts.iter().filter_map(|p| p.strip_prefix('&')) {
        let kept = matching(inventory, part)?;
        chosen.retain(|host| kept.contains(host));
    }
    for part in parts.iter().filter_map(|p| p.strip_prefix('!')) {
        let gone = matching(inventory, part)?;
        chosen.retain(|host| !gone.contains(host));
    }
    let position = |host: &String| inventory.hosts.iter().position(|h| h == host).unwrap_or(usize::MAX);
    chosen.sort_by_key(position);
    Ok(chosen)
}

/// Splits at `,` and `:`, but `ct:101` stays one name.
fn split(pattern: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for piece in pattern.split(',') {
        let piece = piece.trim();
        if piece.starts_with('~') {
            parts.push(piece.to_owned());
            continue;
        }
        for word in piece.split(':') {
            let is_id = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
            match parts.last_mut() {
                Some(last) if is_id && matches!(last.trim_start_matches(['!', '&']), "ct") => {
                    last.push(':');
                    last.push_str(word);
                }
                _ => parts.push(word.to_owned()),
            }
        }
    }
    parts.retain(|p| !p.is_empty());
    parts
}

fn matching(inventory: &Inventory, part: &str) -> Result<Vec<String>, String> {
    if part == "all" || part == "*" {
        // The cluster's API and this machine are hosts only when named.
        let special = |host: &&String| !matches!(host.as_str(), "cluster" | "localhost");
        let all: Vec<String> = inventory.hosts.iter().filter(special).cloned().collect();
        return Ok(if all.is_empty() { inventory.hosts.clone() } else { all });
    }
    if let Some(hosts) = inventory.groups.get(part) {
        return Ok(hosts.clone());
    }
    if inventory.hosts.iter().any(|h| h == part) || Inventory::is_container(part) || part == "localhost" {
        return Ok(vec![part.to_owned()]);
    }
    let found: Vec<String> = if let Some(regex) = part.strip_prefix('~') {
        let regex = regex::Regex::new(regex).map_err(|e| format!("host pattern `{part}`: {e}"))?;
        inventory.hosts.iter().filter(|h| regex.is_match(h)).cloned().collect()
    } else if part.contains(['*', '?', '[']) {
        let glob = globset::Glob::new(part).map_err(|e| format!("host pattern `{part}`: {e}"))?.compile_matcher();
        inventory.hosts.iter().filter(|h| glob.is_match(h)).cloned().collect()
    } else {
        Vec::new()
    };
    if found.is_empty() { Err(format!("no host or group matches `{part}`")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_ansible() {
        let inventory = Inventory::cluster(["pve1", "pve2", "pve3"].map(String::from));
        let cases = [
            ("nodes", "pve1 pve2 pve3"),
            ("all", "pve1 pve2 pve3"),
            ("nodes:!pve2", "pve1 pve3"),
            ("pve3,pve1", "pve1 pve3"),
            ("nodes:&pve2", "pve2"),
            ("pve[12]", "pve1 pve2"),
            ("~pve[23]", "pve2 pve3"),
            ("ct:101", "ct:101"),
            ("pve1:ct:101", "pve1 ct:101"),
            ("cluster", "cluster"),
            ("localhost", "localhost"),
            ("!pve1", "pve2 pve3 cluster localhost"),
        ];
        for (pattern, expected) in cases {
            assert_eq!(select(&inventory, &[pattern]).unwrap().join(" "), expected, "{pattern}");
        }
        assert_eq!(select(&inventory, &["pve9"]).unwrap_err(), "no host or group matches `pve9`");
    }
}
