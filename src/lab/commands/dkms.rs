//! `dkms`: modules built outside of the kernel package. Formats are those of dkms 3.2.2 as recorded.

use super::options::Options;
use super::{Ctx, not_simulated};
use crate::host::Output;
use crate::lab::world::{DkmsBuild, DkmsState};

/// Module sources that packages brought: `drbd` with the version of `drbd-dkms`.
fn sources(ctx: &Ctx) -> Vec<(String, String)> {
    super::apt::installed_version(ctx, "drbd-dkms").map(|v| ("drbd".to_owned(), v)).into_iter().collect()
}

pub fn has_headers(ctx: &Ctx, kernel: &str) -> bool {
    ["proxmox-headers", "pve-headers"]
        .iter()
        .any(|p| super::apt::installed_version(ctx, &format!("{p}-{kernel}")).is_some())
}

pub fn run(ctx: &mut Ctx, argv: &[String], _stdin: Option<&[u8]>) -> Output {
    let long = ["kernelver=", "arch=", "force", "all", "version", "module=", "quiet", "module-version="];
    let options = match Options::parse(argv, "m:v:k:a:q", &long) {
        Ok(options) => options,
        Err(_) => {
            let unknown = argv.iter().find(|a| a.starts_with('-')).cloned().unwrap_or_default();
            return Output::failed(2, format!("\nError! Unknown option: {unknown}\n"));
        }
    };
    if options.has(&["version"]) {
        return Output::ok(if ctx.system().debian == 12 { "dkms-3.0.10\n" } else { "dkms-3.2.2\n" });
    }
    let action = options.rest.first().map_or("", String::as_str);
    let named = options.rest.get(1).cloned().or_else(|| options.value(&["m", "module"]).map(str::to_owned));
    let kernel = options.value(&["k", "kernelver"]).unwrap_or(&ctx.node().kernel).to_owned();
    let module = named.as_deref().map(|n| n.split('/').next().unwrap_or(n).to_owned());
    match action {
        "status" => status(ctx, module.as_deref(), options.value(&["k", "kernelver"])),
        "build" | "install" | "uninstall" | "unbuild" | "remove" => {
            let Some(name) = module else {
                return Output::failed(1, "\nError! Arguments <module> and <module-version> are not specified.\n");
            };
            let Some((name, version)) = sources(ctx).into_iter().find(|(n, _)| *n == name) else {
                return Output::failed(
                    3,
                    format!(
                        "\nError! Could not find module source directory.\nDirectory: /usr/src/{} does not exist.\n",
                        named.unwrap_or_default().replace('/', "-")
                    ),
                );
            };
            match action {
                "build" => build(ctx, &name, &version, &kernel),
                "install" => install(ctx, &name, &version, &kernel),
                _ => {
                    ctx.node_mut().dkms.retain(|b| !(b.module == name && b.kernel == kernel));
                    Output::ok(format!(
                        "Module {name}/{version} for kernel {kernel} (x86_64):\nBefore uninstall, this module version was ACTIVE on this kernel.\n"
                    ))
                }
            }
        }
        "autoinstall" => autoinstall(ctx, &kernel),
        _ => not_simulated(argv, &format!("`dkms {action}`")),
    }
}

fn status(ctx: &Ctx, module: Option<&str>, kernel: Option<&str>) -> Output {
    let mut text = String::new();
    for (name, version) in sources(ctx) {
        if module.is_some_and(|m| m != name) {
            continue;
        }
        let builds: Vec<&DkmsBuild> = ctx
            .node()
            .dkms
            .iter()
            .filter(|b| b.module == name && b.state != DkmsState::Failed && kernel.is_none_or(|k| k == b.kernel))
            .collect();
        if builds.is_empty() {
            text.push_str(&format!("{name}/{version}: added\n"));
        }
        for build in builds {
            let state = match build.state {
                DkmsState::Installed => "installed (Original modules exist)",
                _ => "built",
            };
            text.push_str(&format!("{name}/{}, {}, x86_64: {state}\n", build.version, build.kernel));
        }
    }
    Output::ok(text)
}

fn build(ctx: &mut Ctx, name: &str, version: &str, kernel: &str) -> Output {
    let state = |ctx: &Ctx| ctx.node().dkms.iter().find(|b| b.module == name && b.kernel == kernel).map(|b| b.state);
    if matches!(state(ctx), Some(DkmsState::Built | DkmsState::Installed)) {
        return Output::ok(format!(
            "Module {name}/{version} already built for kernel {kernel} (x86_64), skip. You may override by specifying --force.\n"
        ));
    }
    if !has_headers(ctx, kernel) {
        return Output::failed(
            21,
            format!(
                "\nError! Your kernel headers for kernel {kernel} cannot be found at /lib/modules/{kernel}/build or /lib/modules/{kernel}/source.\nPlease install the linux-headers-{kernel} package or use the --kernelsourcedir option to tell DKMS where it's located.\n"
            ),
        );
    }
    let broken = ctx.node().dkms_broken_for.contains(kernel);
    let node = ctx.node_mut();
    node.dkms.retain(|b| !(b.module == name && b.kernel == kernel));
    let state = if broken { DkmsState::Failed } else { DkmsState::Built };
    node.dkms.push(DkmsBuild { module: name.into(), version: version.into(), kernel: kernel.into(), state });
    if broken {
        let log = format!("/var/lib/dkms/{name}/{version}/build/make.log");
        let text = format!(
            "DKMS (dkms-3.2.2) make.log for {name}/{version} for kernel {kernel} (x86_64)\ndrbd_req.c:2145:2: error: implicit declaration of function 'blk_queue_split'\nmake: *** [Makefile:234: modules] Error 2\n"
        );
        let _ = ctx.writer().ship(&log, text.as_bytes(), 0o644);
        return Output {
            rc: 10,
            stdout: format!(
                "Building module(s)...(bad exit status: 2)\nFailed command:\nmake -j2 KERNELRELEASE={kernel} -C /lib/modules/{kernel}/build\n"
            ),
            stderr: format!(
                "\nError! Bad return status for module build on kernel: {kernel} (x86_64)\nConsult {log} for more information.\n"
            ),
        };
    }
    Output::ok(format!(
        "Sign command: /lib/modules/{kernel}/build/scripts/sign-file\nSigning key: /var/lib/dkms/mok.key\nPublic certificate (MOK): /var/lib/dkms/mok.pub\n\nBuilding module(s).... done.\nSigning module /var/lib/dkms/{name}/{version}/build/drbd.ko\n"
    ))
}

fn install(ctx: &mut Ctx, name: &str, version: &str, kernel: &str) -> Output {
    let mut output = build(ctx, name, version, kernel);
    if output.rc != 0 {
        return output;
    }
    let builds = &mut ctx.node_mut().dkms;
    if let Some(build) = builds.iter_mut().find(|b| b.module == name && b.kernel == kernel) {
        build.state = DkmsState::Installed;
    }
    output.stdout.push_str(&format!("Found pre-existing /lib/modules/{kernel}/kernel/drivers/block/drbd/drbd.ko, archiving for uninstallation\nInstalling /lib/modules/{kernel}/updates/dkms/drbd.ko\nInstalling /lib/modules/{kernel}/updates/dkms/drbd_transport_tcp.ko\nRunning depmod... done.\n"));
    output
}

/// What package scripts do after modules or headers arrive: every source for one kernel, failures told at the end.
pub fn autoinstall(ctx: &mut Ctx, kernel: &str) -> Output {
    let mut output = Output::default();
    for (name, version) in sources(ctx) {
        let installed =
            ctx.node().dkms.iter().any(|b| b.module == name && b.kernel == kernel && b.state == DkmsState::Installed);
        if installed {
            continue;
        }
        let one = install(ctx, &name, &version, kernel);
        output.stdout.push_str(&one.stdout);
        output.stderr.push_str(&one.stderr);
        if one.rc != 0 {
            output.rc = 11;
            output.stderr.push_str("\nError! One or more modules failed to install during autoinstall.\nRefer to previous errors for more information.\n");
        }
    }
    output
}
