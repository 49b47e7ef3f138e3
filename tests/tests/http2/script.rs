//! A server that sends and receives the frames of HTTP/2 one by one, without TLS.

use tests::support::{ANY_PORT, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The types of frames (RFC 9113, section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// The bytes with which a client begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A port on which scripts run.
pub(crate) struct ScriptListener(TcpListener);

impl ScriptListener {
    pub(crate) async fn bind() -> Self {
        Self(TcpListener::bind(ANY_PORT).await.unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/rpc", self.0.local_addr().unwrap())
    }

    /// Accepts a connection, and answers nothing.
    pub(crate) async fn accept(&self) -> Script {
        let (stream, _) = soon(self.0.accept()).await.unwrap();
        let mut script = Script(stream);
        let mut preface = vec![0; PREFACE.len()];
        soon(script.0.read_exact(&mut preface)).await.unwrap();
        assert_eq!(preface, PREFACE);
        script.send(kind::SETTINGS, 0, 0, &[]).await;
        script
    }

    /// Accepts a connection, and answers the first request, with which the client checks the server.
    pub(crate) async fn accept_client(&self) -> Script {
        let mut script = self.accept().await;
        let stream = script.request().await;
        script.body(stream).await;
        script.head(stream, 200, Some("application/json")).await;
        let pong = br#"{"jsonrpc":"2.0","id":0,"result":null}"#;
        script.send(kind::DATA, END_STREAM, stream, pong).await;
        script
    }
}

/// A connection of a client.
pub(crate) struct Script(TcpStream);

impl Script {
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// Sends the head of a response.
    pub(crate) async fn head(&mut self, stream: u32, status: u16, content_type: Option<&str>) {
        // Literal fields without indexing (RFC 7541, section 6.2.2): `:status` is entry 8, `content-type` entry 31.
        let mut block = vec![0x08, 3];
        block.extend(status.to_string().as_bytes());
        if let Some(value) = content_type {
            block.extend([0x0f, 31 - 15, u8::try_from(value.len()).unwrap()]);
            block.extend(value.as_bytes());
        }
        self.send(kind::HEADERS, END_HEADERS, stream, &block).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, code: u32) {
        self.send(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
            .await;
    }

    /// Sends GOAWAY with the last stream that was processed.
    pub(crate) async fn go_away(&mut self, last: u32) {
        let payload = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        self.send(kind::GOAWAY, 0, 0, &payload).await;
    }

    /// Receives a frame. Acknowledges settings and answers PING frames.
    async fn frame(&mut self) -> Frame {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            let frame = Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload,
            };
            match frame.kind {
                kind::SETTINGS | kind::PING if frame.flags & ACK == 0 => {
                    let answer = match frame.kind {
                        kind::PING => &*frame.payload,
                        _ => &[],
                    };
                    self.send(frame.kind, ACK, 0, answer).await;
                }
                _ => return frame,
            }
        }
    }

    /// Waits for the next request, and returns its stream.
    pub(crate) async fn request(&mut self) -> u32 {
        soon(async {
            loop {
                let frame = self.frame().await;
                if frame.kind == kind::HEADERS {
                    return frame.stream;
                }
            }
        })
        .await
    }

    /// Waits for the next call, and returns its stream and its message. Offers to accept a stream have no data.
    pub(crate) async fn call(&mut self) -> (u32, Vec<u8>) {
        soon(async {
            loop {
                let frame = self.frame().await;
                if frame.kind == kind::DATA && !frame.payload.is_empty() {
                    return (frame.stream, frame.payload);
                }
            }
        })
        .await
    }

    /// Waits for the end of a request.
    async fn body(&mut self, stream: u32) {
        soon(async {
            loop {
                let frame = self.frame().await;
                if frame.stream == stream && frame.flags & END_STREAM != 0 {
                    return;
                }
            }
        })
        .await;
    }

    /// Waits until the client has closed the connection.
    pub(crate) async fn closed(mut self) {
        let mut bytes = Vec::new();
        let _ = soon(self.0.read_to_end(&mut bytes)).await;
    }
}
