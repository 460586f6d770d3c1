//! The secrets that a run on a schedule needs: systemd hands it the files, and what only a person could give is refused.

use super::absolute;
use crate::drift::notice::{Config, Way};
use crate::inventory::cluster::{Cluster, Login, Source};
use crate::inventory::{self};
use crate::schedule::{Credential, RunAs};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub struct Secrets<'a> {
    run_as: &'a RunAs,
    pub found: Vec<Credential>,
    pub warnings: Vec<String>,
}

impl<'a> Secrets<'a> {
    pub fn new(run_as: &'a RunAs) -> Self {
        Self { run_as, found: Vec::new(), warnings: Vec::new() }
    }

    pub fn of_cluster(&mut self, cluster: &Cluster) -> Result<(), String> {
        let folder = cluster.path.parent().unwrap_or(Path::new(""));
        let mut take = |what: &str, source: &Source| self.take(&cluster.path, folder, what, source);
        match &cluster.login {
            Login::Password { password, second_factor, .. } => {
                take("password", password)?;
                second_factor.iter().try_for_each(|source| take("second_factor", source))
            }
            Login::Token { secret, .. } => take("secret", secret),
        }
    }

    pub fn of_notify(&mut self, path: &Path, config: &Config) -> Result<(), String> {
        for channel in &config.channels {
            let Way::Webhook(hook) = &channel.way else { continue };
            let headers = hook.headers.iter().map(|(name, source)| (name.as_str(), source));
            for (what, source) in hook.url_from.iter().map(|source| ("url_from", source)).chain(headers) {
                self.take(path, &config.folder, what, source)?;
            }
        }
        Ok(())
    }

    /// A service has no terminal, and not the environment of who installs it.
    fn take(&mut self, place: &Path, folder: &Path, what: &str, source: &Source) -> Result<(), String> {
        let place = place.display();
        let file = "write it to a file of mode 0600 and say `{ file: PATH }`";
        match source {
            Source::Prompt => Err(format!("{place}: `{what}` is asked for, and a service has nobody to ask; {file}")),
            Source::Env(name) => {
                Err(format!("{place}: `{what}` comes from ${name}, which a service does not have; {file}"))
            }
            Source::Command(argv) => {
                let program = argv.first().map_or("", String::as_str);
                self.warnings.push(format!("`{what}` comes from `{program}`, which must work there without a person"));
                Ok(())
            }
            Source::File(path) => {
                let real = absolute(&inventory::path_from(path, folder))?;
                let meta = std::fs::metadata(&real).map_err(|e| format!("{real}: {e}"))?;
                if meta.permissions().mode() & 0o077 != 0 {
                    return Err(format!("{real}: others may read it; `chmod 0600` it"));
                }
                if *self.run_as == RunAs::Own {
                    return Ok(());
                }
                let id = inventory::credential(path);
                match self.found.iter().find(|other| other.id == id) {
                    Some(other) if other.path != real => Err(format!(
                        "{} and {real} are both written `{}`; write one of them with its whole path",
                        other.path,
                        path.display()
                    )),
                    Some(_) => Ok(()),
                    None => {
                        self.found.push(Credential { id, path: real });
                        Ok(())
                    }
                }
            }
        }
    }
}
