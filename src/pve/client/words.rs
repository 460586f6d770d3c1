//! Why there was no answer, in the words of those who have to do something about it. What is not known here is passed on
//! as it was said.

use crate::pve::tls::Refused;
use std::error::Error as StdError;
use std::io::ErrorKind;

/// Why a connection could not be made, or ended.
pub fn no_answer(error: &(dyn StdError + 'static)) -> String {
    let known = causes(error).find_map(|cause| {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return Some(of_socket(io.kind(), &io.to_string())?.to_owned());
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Some(of_tls(tls));
        }
        if let Some(http) = cause.downcast_ref::<hyper::Error>() {
            return http.is_incomplete_message().then(|| CLOSED.to_owned());
        }
        cause.downcast_ref::<reqwest::Error>()?.is_timeout().then(|| SILENT.to_owned())
    });
    known.unwrap_or_else(|| super::chain(error))
}

const CLOSED: &str = "the connection was closed before an answer came";
const SILENT: &str = "no answer: the node is off or hangs, or a firewall is in between";

fn of_socket(kind: ErrorKind, said: &str) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::ConnectionRefused => {
            "connection refused: nobody listens there (the node is off or starting, or pveproxy does not run)"
        }
        ErrorKind::TimedOut => SILENT,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "there is no way to it: the node is off, or the network in between is broken"
        }
        ErrorKind::UnexpectedEof if said.contains("handshake") => {
            "it takes connections and closes them at once: pveproxy is starting or broken there \
             (`systemctl status pveproxy`)"
        }
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => CLOSED,
        _ if said.contains("failed to lookup address") => "its name is known to no name server, and not to /etc/hosts",
        _ => return None,
    })
}

fn of_tls(error: &rustls::Error) -> String {
    if let Some(refused) = Refused::of(error) {
        return format!("its certificate ({}) is not trusted: {refused}", refused.fingerprint);
    }
    match error {
        rustls::Error::InvalidMessage(_) => "what listens there speaks no TLS: is it the port of pveproxy?".into(),
        rustls::Error::AlertReceived(alert) => format!("it refused the TLS connection ({alert:?})"),
        other => format!("TLS failed: {other}"),
    }
}

/// An error and what led to it, the outermost first.
pub(super) fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| {
        let error: &'e (dyn StdError + 'static) = *error;
        // `source` of an I/O error is that of the error inside it, which would be skipped.
        match error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Error;

    #[test]
    fn what_sockets_and_tls_say_is_put_into_words() {
        for (error, expected) in [
            (Error::from(ErrorKind::ConnectionRefused), "nobody listens there"),
            (Error::from(ErrorKind::TimedOut), "off or hangs"),
            (Error::from(ErrorKind::HostUnreachable), "no way to it"),
            (Error::new(ErrorKind::UnexpectedEof, "tls handshake eof"), "pveproxy is starting or broken"),
            (Error::from(ErrorKind::ConnectionReset), "was closed before"),
            (Error::other("failed to lookup address information: Name or service not known"), "name"),
            (Error::other(rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure)), "refused the TLS"),
            (Error::other("something new"), "something new"),
        ] {
            let said = no_answer(&error);
            assert!(said.contains(expected) && !said.contains("os error"), "{error:?}: {said}");
        }
    }
}
