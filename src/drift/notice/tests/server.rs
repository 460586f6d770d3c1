//! An HTTP server on the loopback that answers as it is told, and remembers what it was asked.

use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Request, Response};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
pub enum Answer {
    Status(u16),
    /// With one header.
    Header(u16, &'static str, String),
    /// Reads the request and never answers.
    Hang,
    /// Reads the request and closes the connection.
    Close,
    /// 200, and a body without end.
    Flood,
}

#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub headers: Vec<(String, String)>,
    pub body: serde_json::Value,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// Lives until the test process ends.
pub struct Server {
    pub port: u16,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    pub answer: Arc<Mutex<Answer>>,
}

impl Server {
    pub fn start(answer: Answer) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(answer)));
        let (remember, say) = (asked.clone(), answer.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (remember, say) = (remember.clone(), say.clone());
                    let service =
                        hyper::service::service_fn(move |request| serve(request, remember.clone(), say.clone()));
                    let stream = hyper_util::rt::TokioIo::new(stream);
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
                }
            });
        });
        Self { port, asked, answer }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hooks/t0p-s3cret", self.port)
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn serve(
    request: Request<Incoming>,
    remember: Arc<Mutex<Vec<Asked>>>,
    say: Arc<Mutex<Answer>>,
) -> Result<Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let headers = head.headers.iter().map(|(k, v)| (k.to_string(), v.to_str().unwrap_or_default().to_owned()));
    remember.lock().unwrap().push(Asked {
        method: head.method.to_string(),
        headers: headers.collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    let answer = say.lock().unwrap().clone();
    let plain = |status: u16, text: &'static str| {
        Response::builder().status(status).body(Full::new(Bytes::from_static(text.as_bytes())).boxed()).unwrap()
    };
    match answer {
        Answer::Status(status) => Ok(plain(status, "t0p-s3cret is what you asked for")),
        // A redirect leads to the end once.
        Answer::Header(..) if head.uri.path() == "/moved" => Ok(plain(200, "")),
        Answer::Header(status, name, value) => {
            let mut response = plain(status, "");
            response.headers_mut().insert(name, value.parse().unwrap());
            Ok(response)
        }
        Answer::Hang => std::future::pending().await,
        Answer::Close => Err(std::io::Error::other("as the test wants it")),
        Answer::Flood => Ok(Response::new(Endless(Bytes::from(vec![b'x'; 1 << 16])).boxed())),
    }
}

struct Endless(Bytes);

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}
