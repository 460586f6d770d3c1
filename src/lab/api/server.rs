//! HTTPS in front of the lab's API, on loopback: one port for each node, as every Proxmox node has its own.
//! It carries bytes; what is answered is `dispatch`'s. Where a node is off, nobody listens.

use super::auth::{Secrets, random};
use super::request::{Reply, Request};
use super::{bridge, dispatch, state, terminal, tls, websocket};
use crate::lab::{Lab, LabError, base};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::HeaderValue;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::watch;

/// What a client may send: uploads are the largest.
const MAX_BODY: usize = 64 << 20;
/// pveproxy closes a connection that says nothing for five seconds.
const IDLE: Duration = Duration::from_secs(5);
/// Proxmox waits 30 s for what hangs. A lab's time passes faster, as that of its HA manager.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked which nodes have power.
const POWER: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("the lab's API cannot be served: {0}")]
    Io(#[from] io::Error),
}

/// A running API; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    /// `https://127.0.0.1:PORT` by node.
    pub urls: BTreeMap<String, String>,
    pub ca_pem: String,
    /// Of each node's certificate: SHA-256, upper case with colons.
    pub fingerprints: BTreeMap<String, String>,
    /// Where the password of root@pam is kept, readable by its owner alone.
    pub secrets_file: PathBuf,
    root_password: String,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Password of root@pam.
    pub fn root_password(&self) -> &str {
        &self.root_password
    }

    /// The first node's address.
    pub fn base_url(&self) -> &str {
        self.urls.values().next().map_or("", String::as_str)
    }

    /// Returns when the server has ended; it ends when it is dropped elsewhere or its thread dies.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The lab's password and ticket key, made once and kept readable by their owner alone.
fn secrets(path: &PathBuf) -> io::Result<Secrets> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secrets = Secrets { root_password: state::hex(&random(12)?), key: state::hex(&random(32)?) };
            tls::write_private(path, &serde_json::to_string_pretty(&secrets)?, 0o600)?;
            Ok(secrets)
        }
        Err(error) => Err(error),
    }
}

/// Serves a lab's API. The first node listens on `bind`, the others on the following ports, or all on free ones when
/// the port is 0. Only addresses of this machine's loopback are taken: the lab's password guards nothing real, but
/// its API writes files.
pub fn serve(lab: Lab, bind: SocketAddr) -> Result<Server, ServeError> {
    if !bind.ip().is_loopback() {
        let text = format!("{} is not a loopback address", bind.ip());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text).into());
    }
    let nodes: Vec<(String, String)> = lab.look(|world| {
        world.nodes.iter().map(|(name, node)| (name.clone(), base::cluster_address(node.index))).collect()
    })?;
    let pki = tls::ensure(lab.files(), &nodes)?;
    let secrets_file = lab.dir().join("api-secrets.json");
    let secrets = Arc::new(secrets(&secrets_file)?);
    let (stop, stopped) = watch::channel(false);
    let mut urls = BTreeMap::new();
    let mut fingerprints = BTreeMap::new();
    let mut listeners = Vec::new();
    for (at, (name, _)) in nodes.iter().enumerate() {
        let port = if bind.port() == 0 { 0 } else { bind.port() + at as u16 };
        let listener = std::net::TcpListener::bind(SocketAddr::new(bind.ip(), port))?;
        listener.set_nonblocking(true)?;
        urls.insert(name.clone(), url(bind.ip(), listener.local_addr()?.port()));
        let folder = lab.files().pve().join("nodes").join(name);
        fingerprints.insert(name.clone(), tls::presented(|file| std::fs::read(folder.join(file)).ok()));
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls::server_config(lab.files(), name)?));
        listeners.push((name.clone(), listener, tls));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let root_password = secrets.root_password.clone();
    let thread = std::thread::Builder::new().name("lab-api".into()).spawn(move || {
        runtime.block_on(async move {
            let (tell, power) = watch::channel(BTreeSet::new());
            for (name, listener, tls) in listeners {
                let port = Port { lab: lab.clone(), node: name, secrets: secrets.clone(), tls };
                let (power, stopped) = (power.clone(), stopped.clone());
                tokio::spawn(async move {
                    if let Err(error) = port.serve(listener, power, stopped).await {
                        tracing::error!("the lab's API: {error}");
                    }
                });
            }
            tokio::spawn(watch_power(lab, tell));
            let mut stopped = stopped;
            // An error means that the server was dropped.
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        runtime.shutdown_timeout(Duration::from_millis(200));
    })?;
    Ok(Server { urls, ca_pem: pki.ca_pem, fingerprints, secrets_file, root_password, stop, thread: Some(thread) })
}

fn url(ip: IpAddr, port: u16) -> String {
    format!("https://{}", SocketAddr::new(ip, port))
}

/// One node's port.
#[derive(Clone)]
struct Port {
    lab: Lab,
    node: String,
    secrets: Arc<Secrets>,
    tls: tokio_rustls::TlsAcceptor,
}

/// Tells which nodes are off.
async fn watch_power(lab: Lab, tell: watch::Sender<BTreeSet<String>>) {
    loop {
        let lab = lab.clone();
        let look = move || {
            lab.look(|world| world.nodes.iter().filter(|(_, node)| node.off).map(|(name, _)| name.clone()).collect())
        };
        if let Ok(Ok(off)) = tokio::task::spawn_blocking(look).await {
            tell.send_if_modified(|known: &mut BTreeSet<String>| {
                let news = *known != off;
                *known = off;
                news
            });
        }
        tokio::time::sleep(POWER).await;
    }
}

impl Port {
    /// Listens while the node is on. While it is off its port is kept, and connections are refused.
    async fn serve(
        self,
        listener: std::net::TcpListener,
        mut power: watch::Receiver<BTreeSet<String>>,
        mut stopped: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let address = listener.local_addr()?;
        let socket = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok::<_, io::Error>(socket)
        };
        let mut listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let off = |all: &BTreeSet<String>| all.contains(&self.node);
            tokio::select! {
                () = self.accept(&listener) => {}
                _ = power.wait_for(off) => {}
                _ = stopped.wait_for(|stop| *stop) => return Ok(()),
            }
            drop(listener);
            let kept = socket()?;
            tokio::select! {
                _ = power.wait_for(|all| !off(all)) => {}
                _ = stopped.wait_for(|stop| *stop) => return Ok(()),
            }
            listener = socket()?.listen(64)?;
            drop(kept);
        }
    }

    async fn accept(&self, listener: &tokio::net::TcpListener) {
        loop {
            let accepted = listener.accept().await;
            match accepted {
                Ok((stream, _)) => {
                    let port = self.clone();
                    tokio::spawn(async move {
                        // A client that breaks off harms nobody.
                        let _ = tokio::time::timeout(Duration::from_secs(300), port.connection(stream)).await;
                    });
                }
                Err(error) => {
                    tracing::warn!("the lab's API: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn is_on(&self) -> bool {
        self.lab.look(|world| world.nodes.get(&self.node).is_some_and(|node| !node.off)).unwrap_or(false)
    }

    async fn connection(self, stream: tokio::net::TcpStream) {
        let port = self.clone();
        let on = tokio::task::spawn_blocking(move || port.is_on()).await.unwrap_or(false);
        if !on {
            return;
        }
        let Ok(stream) = self.tls.clone().accept(stream).await else { return };
        let service = hyper::service::service_fn(move |request| {
            let port = self.clone();
            async move { port.respond(request).await.ok_or_else(|| io::Error::other("this node is off")) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(IDLE);
        if let Err(error) = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await {
            tracing::debug!("the lab's API: {error}");
        }
    }

    /// `None` hangs up: the node is off, also for a connection that was made before.
    async fn respond(self, request: hyper::Request<Incoming>) -> Option<hyper::Response<Full<Bytes>>> {
        let port = self.clone();
        let on = tokio::task::spawn_blocking(move || port.is_on()).await.unwrap_or(false);
        let websocket = request.headers().get("sec-websocket-key").map(|key| key.as_bytes().to_vec());
        match (on, websocket) {
            (false, _) => None,
            (true, None) => Some(self.answer(request).await),
            (true, Some(key)) => self.upgrade(request, &String::from_utf8_lossy(&key)).await,
        }
    }

    /// A terminal's WebSocket. `None` hangs up: nobody waits at that port (any more).
    async fn upgrade(self, mut request: hyper::Request<Incoming>, key: &str) -> Option<hyper::Response<Full<Bytes>>> {
        let upgraded = hyper::upgrade::on(&mut request);
        let wants_binary = request.headers().contains_key("sec-websocket-protocol");
        let path = request.uri().path().to_owned();
        let port = super::request::decode_form(request.uri().query().unwrap_or_default()).remove("port");
        let reply = self.clone().answer(request).await;
        if reply.status() != hyper::StatusCode::OK {
            return Some(reply);
        }
        let node = path.strip_prefix("/api2/json/nodes/")?.strip_suffix("/vncwebsocket")?.to_owned();
        let (lab, port) = (self.lab.clone(), port?.parse().ok()?);
        let taken = tokio::task::spawn_blocking(move || {
            lab.with(|world| {
                bridge::within(world, lab.files(), |cluster, site, _| {
                    terminal::take(cluster, &node, port, site.now_ms())
                })
            })
        });
        let at = taken.await.ok()?.ok()??;
        tokio::spawn(async move {
            if let Ok(stream) = upgraded.await {
                websocket::serve(TokioIo::new(stream), self.lab, self.secrets, at).await;
            }
        });
        let mut response = hyper::Response::new(Full::default());
        *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert("upgrade", HeaderValue::from_static("websocket"));
        headers.insert("connection", HeaderValue::from_static("upgrade"));
        headers.insert("sec-websocket-accept", HeaderValue::from_str(&websocket::accept(key)).ok()?);
        if wants_binary {
            headers.insert("sec-websocket-protocol", HeaderValue::from_static("binary"));
        }
        Some(response)
    }

    async fn answer(self, request: hyper::Request<Incoming>) -> hyper::Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Some(path) = head.uri.path().strip_prefix("/api2/json") else {
            return render(&Reply { status: 404, reason: "Not Found".into(), body: None });
        };
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
            return render(&Reply { status: 501, reason: "for data too large".into(), body: None });
        };
        let headers = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let path = super::request::percent_decode(path.trim_end_matches('/'), false);
        let asked = Request {
            method: head.method.to_string(),
            path: if path.is_empty() { "/".into() } else { path },
            query: head.uri.query().unwrap_or_default().into(),
            headers: headers.collect(),
            body: body.to_bytes().to_vec(),
            entry: self.node.clone(),
        };
        let answered = tokio::task::spawn_blocking(move || {
            self.lab.with(|world| {
                bridge::within(world, self.lab.files(), |cluster, site, flavour| {
                    dispatch::handle(cluster, site, &self.secrets, flavour, &asked)
                })
            })
        })
        .await;
        match answered {
            Ok(Ok(reply)) => {
                if reply.status == dispatch::HANGS {
                    tokio::time::sleep(PATIENCE).await;
                }
                render(&reply)
            }
            Ok(Err(error)) => render(&Reply { status: 500, reason: error.to_string(), body: None }),
            Err(error) => render(&Reply { status: 500, reason: format!("the lab failed: {error}"), body: None }),
        }
    }
}

fn render(reply: &Reply) -> hyper::Response<Full<Bytes>> {
    let body = reply.body.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut response = hyper::Response::new(Full::new(Bytes::from(body)));
    // 595 and the like are no standard codes, and allowed.
    *response.status_mut() = hyper::StatusCode::from_u16(reply.status).unwrap_or(hyper::StatusCode::IM_A_TEAPOT);
    let headers = response.headers_mut();
    if reply.body.is_some() {
        headers.insert("content-type", HeaderValue::from_static("application/json;charset=UTF-8"));
    }
    if reply.status >= 400 {
        headers.insert("connection", HeaderValue::from_static("close"));
    }
    // A phrase is one line of visible characters; others are left out as on the real wire.
    let phrase: Vec<u8> = reply.reason.bytes().filter(|byte| *byte >= 0x20 && *byte != 0x7f).collect();
    if let Ok(phrase) = ReasonPhrase::try_from(phrase) {
        response.extensions_mut().insert(phrase);
    }
    response
}
