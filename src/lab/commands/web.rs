//! The lab's web: the few addresses that its nodes can fetch from, and `curl` in front of it.

use super::options::Options;
use super::{Ctx, not_simulated};
use crate::host::Output;
use base64::Engine as _;
use sha2::{Digest, Sha256};

/// Long id of the lab's stand-in for LINBIT's signing key.
pub const LINBIT_KEY_ID: &str = "85199550B5A00F07";

/// A real key block that signs nothing: what the lab serves in place of LINBIT's.
pub const LINBIT_KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawMA3hYJKwYBBAHaRw8BAQdA/cgDDkJsM7MP33CBBxHEmMC6Hr5NHvjtY5gL
YQcreme0OExhYiBzdGFuZC1pbiBmb3IgYSBwYWNrYWdlIHNpZ25pbmcga2V5IDxr
ZXlAbGFiLmV4YW1wbGU+iJAEExYIADgWIQRAYOPB+kKCYcr8XsOFGZVQtaAPBwUC
awMA3gIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRCFGZVQtaAPB/MeAP0f
WktsPL91rvk9jD0Yp1WVbw1+YRykYHT2HdHC/ztVZwD8D/uzGQVdrWJlg2b3GjJ5
eiGjDt14YBz/bcbIAhsfbAU=
=ESXJ
-----END PGP PUBLIC KEY BLOCK-----
";

/// Whether a keyring holds the stand-in key, armoured or not. As apt does, the key is looked for by what it is;
/// names of files prove nothing.
pub fn is_linbit_key(bytes: &[u8]) -> bool {
    let binary = dearmor(LINBIT_KEY).expect("the lab's own key is well formed");
    let given = std::str::from_utf8(bytes).ok().and_then(dearmor).unwrap_or_else(|| bytes.to_vec());
    given.windows(binary.len().max(1)).any(|w| w == binary)
}

/// The bytes of an armoured block.
pub fn dearmor(text: &str) -> Option<Vec<u8>> {
    let body = text.split_once("-----BEGIN PGP PUBLIC KEY BLOCK-----")?.1.split_once("-----END")?.0;
    let lines = body.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('=') && !l.contains(':'));
    base64::engine::general_purpose::STANDARD.decode(lines.collect::<String>()).ok()
}

/// What an address serves.
pub fn fetch(url: &str) -> Result<Vec<u8>, FetchError> {
    let (scheme, rest) = url.split_once("://").ok_or(FetchError::BadUrl)?;
    if scheme != "http" && scheme != "https" {
        return Err(FetchError::BadUrl);
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match (host, path) {
        ("packages.linbit.com", "package-signing-pubkey.asc") => Ok(LINBIT_KEY.into()),
        ("packages.linbit.com" | "download.proxmox.com" | "deb.debian.org", _) => Err(FetchError::NotFound),
        ("download.lab.example", "hello.txt") => Ok("hello from the lab\n".into()),
        ("download.lab.example", _) => Err(FetchError::NotFound),
        (host, _) => Err(FetchError::NoHost(host.split(':').next().unwrap_or(host).to_owned())),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    BadUrl,
    NotFound,
    NoHost(String),
}

pub fn curl(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let long = [
        "fail",
        "silent",
        "show-error",
        "location",
        "output=",
        "max-time=",
        "connect-timeout=",
        "retry=",
        "proto=",
        "proto-redir=",
        "header=",
        "user-agent=",
        "write-out=",
        "remote-time",
        "tlsv1.2",
        "head",
        "max-redirs=",
        "max-filesize=",
        "time-cond=",
        "create-dirs",
        "no-progress-meter",
        "insecure",
        "fail-with-body",
        "retry-delay=",
        "dump-header=",
        "globoff",
        "disable",
        "request=",
        "url=",
        "version",
    ];
    let options = match Options::parse(argv, "fsSLo:m:H:A:w:RIkz:D:gqX:", &long) {
        Ok(options) => options,
        Err(output) => return output,
    };
    if options.has(&["version"]) {
        return Output::ok("curl 8.14.1 (x86_64-pc-linux-gnu)\n");
    }
    let mut urls = options.rest.clone();
    urls.extend(options.value(&["url"]).map(str::to_owned));
    let [url] = urls.as_slice() else { return not_simulated(argv, "curl with other than one address") };
    let fail = options.has(&["f", "fail", "fail-with-body"]);
    let (status, body) = match fetch(url) {
        Ok(body) => (200, body),
        Err(FetchError::NotFound) if fail => {
            return Output::failed(22, "curl: (22) The requested URL returned error: 404\n");
        }
        Err(FetchError::NotFound) => (404, b"<html>404 Not Found</html>\n".to_vec()),
        Err(FetchError::BadUrl) => return Output::failed(3, "curl: (3) URL rejected: Bad hostname\n"),
        Err(FetchError::NoHost(host)) => {
            return Output::failed(6, format!("curl: (6) Could not resolve host: {host}\n"));
        }
    };
    let mut output = Output::default();
    match options.value(&["o", "output"]) {
        Some("-") | None => output.stdout = String::from_utf8_lossy(&body).into_owned(),
        Some(path) => {
            if let Err(e) = ctx.write(path, &body) {
                return Output::failed(23, format!("curl: (23) Failure writing output to destination: {e}\n"));
            }
        }
    }
    if let Some(format) = options.value(&["w", "write-out"]) {
        let text = format.replace("%{http_code}", &status.to_string()).replace("%{response_code}", &status.to_string());
        output.stdout.push_str(&text.replace("%{size_download}", &body.len().to_string()).replace("\\n", "\n"));
    }
    output
}

pub fn wget(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let long = ["quiet", "output-document=", "timeout=", "tries=", "no-check-certificate", "version"];
    let options = match Options::parse(argv, "qO:T:t:", &long) {
        Ok(options) => options,
        Err(output) => return output,
    };
    if options.has(&["version"]) {
        return Output::ok("GNU Wget 1.25.0 built on linux-gnu.\n");
    }
    let [url] = options.rest.as_slice() else { return not_simulated(argv, "wget with other than one address") };
    let body = match fetch(url) {
        Ok(body) => body,
        Err(FetchError::BadUrl) => return Output::failed(1, format!("{url}: Unsupported scheme.\n")),
        Err(FetchError::NotFound) => return Output::failed(8, "ERROR 404: Not Found.\n"),
        Err(FetchError::NoHost(host)) => {
            return Output::failed(4, format!("wget: unable to resolve host address '{host}'\n"));
        }
    };
    let target = options.value(&["O", "output-document"]).or_else(|| url.rsplit('/').next()).unwrap_or("index.html");
    match target {
        "-" => Output::ok(String::from_utf8_lossy(&body)),
        path => match ctx.write(path, &body) {
            Ok(()) => Output::default(),
            Err(e) => Output::failed(3, format!("{path}: {}\n", e.text)),
        },
    }
}

/// `apt-helper download-file URL FILE [SHA256:…]`: apt's own fetcher, which verifies before it keeps the file.
pub fn apt_helper(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let (url, path, hash) = match argv {
        [_, verb, url, path] if verb == "download-file" => (url, path, None),
        [_, verb, url, path, hash] if verb == "download-file" => (url, path, Some(hash)),
        _ => return not_simulated(argv, "this use of apt-helper"),
    };
    let failed = |why: &str| Output {
        rc: 100,
        stdout: format!("Err:1 {url}\n  {why}\n"),
        stderr: format!("E: Failed to fetch {url}  {why}\nE: Download Failed\n"),
    };
    let body = match fetch(url) {
        Ok(body) => body,
        Err(FetchError::BadUrl) => return failed("The method driver could not be found."),
        Err(FetchError::NotFound) => return failed("404  Not Found"),
        Err(FetchError::NoHost(host)) => return failed(&format!("Could not resolve '{host}'")),
    };
    let got: String = Sha256::digest(&body).iter().map(|b| format!("{b:02x}")).collect();
    if let Some(hash) = hash {
        let Some(wanted) = hash.strip_prefix("SHA256:") else {
            return not_simulated(argv, &format!("the hash {hash}"));
        };
        if !wanted.eq_ignore_ascii_case(&got) {
            return failed(&format!(
                "Hash Sum mismatch\n   Hashes of expected file:\n    - SHA256:{wanted}\n   Hashes of received file:\n    - SHA256:{got}"
            ));
        }
    }
    match ctx.write(path, &body) {
        Ok(()) => Output::ok(format!("Get:1 {url} [{} B]\nFetched {} B in 0s (1 B/s)\n", body.len(), body.len())),
        Err(e) => failed(&e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference playbook pins the key; a lab that serves another one could not be converged.
    #[test]
    fn the_reference_playbook_pins_this_key() {
        let vars = include_str!("../../../playbooks/vars/drbd-nfs.yml");
        let sum: String = Sha256::digest(LINBIT_KEY).iter().map(|b| format!("{b:02x}")).collect();
        assert!(vars.contains(&sum), "{sum}");
    }

    #[test]
    fn the_key_is_known_armoured_and_not() {
        assert!(is_linbit_key(LINBIT_KEY.as_bytes()));
        assert!(is_linbit_key(&dearmor(LINBIT_KEY).unwrap()));
        assert!(!is_linbit_key(
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\naGVsbG8=\n-----END PGP PUBLIC KEY BLOCK-----\n"
        ));
        assert!(!is_linbit_key(b""));
    }
}
