//! Sends a file of 100 MB in chunks, in both directions, with progress.
//!
//! `cargo run --release --example files`, or with a number of megabytes behind `--`.
//!
//! A file is a stream of items, each a chunk in Base64. Both sides hold a few chunks at a time: the flow control of the
//! stream makes the reader of the file wait for the receiver. The result of the upload is sent when the server has written
//! all chunks. A transfer that was cut off is an error, never a short file, also if the source cannot be read to its end.

use std::fs::File;
use std::future;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, Stream, StreamExt, stream};
use rpc_runtime::{Base64, CallError, Client, Identity, RpcError, Server, Trust, rpc};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A chunk is small beside the limits of an item (1 MiB to the server, 4 MiB from it), and large beside the cost of an item.
const CHUNK_BYTES: usize = 64 << 10;

type Chunk = Base64<Vec<u8>>;

#[rpc]
trait Files {
    /// Stores a file. Returns its size in bytes.
    async fn upload(&self, name: &str, chunks: impl Stream<Item = Chunk>)
    -> Result<u64, FileError>;

    /// Returns the size of a file, in bytes.
    async fn size(&self, name: &str) -> Result<u64, FileError>;

    /// Reads a file from this offset on, so that a caller can go on after a lost connection.
    fn download(&self, name: &str, offset: u64) -> impl Stream<Item = Result<Chunk, FileError>>;
}

#[derive(Debug, thiserror::Error, RpcError)]
enum FileError {
    #[error("no file has this name")]
    #[rpc(code = 1)]
    NotFound,
    #[error("the name is no plain file name")]
    #[rpc(code = 2)]
    InvalidName,
    #[error("the file cannot be read or written")]
    #[rpc(code = 3)]
    Failed,
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Failed,
        }
    }
}

/// Keeps files in a folder.
struct Folder(PathBuf);

impl Folder {
    /// Returns the path of a file. The name comes from a peer, and must not lead out of the folder.
    fn path(&self, name: &str) -> Result<PathBuf, FileError> {
        let is_plain = Path::new(name)
            .file_name()
            .is_some_and(|plain| plain == name);
        match is_plain {
            true => Ok(self.0.join(name)),
            false => Err(FileError::InvalidName),
        }
    }
}

impl Files for Folder {
    async fn upload(
        &self,
        name: &str,
        chunks: impl Stream<Item = Chunk> + Send,
    ) -> Result<u64, FileError> {
        let path = self.path(name)?;
        // The file gets its name when it is complete. It is deleted if the call is cancelled before.
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        let (mut chunks, mut size) = (pin!(chunks), 0);
        while let Some(Base64(chunk)) = chunks.next().await {
            // Writing 64 KiB into the system's cache takes some microseconds. Use `tokio::fs` for a slow disk.
            file.write_all(&chunk)?;
            size += chunk.len() as u64;
        }
        file.persist(path)
            .map_err(|error| FileError::from(error.error))?;
        Ok(size)
    }

    async fn size(&self, name: &str) -> Result<u64, FileError> {
        Ok(std::fs::metadata(self.path(name)?)?.len())
    }

    fn download(&self, name: &str, offset: u64) -> impl Stream<Item = Result<Chunk, FileError>> {
        let file = self.path(name).and_then(|path| {
            let mut file = File::open(path)?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
            Ok(file)
        });
        stream::once(async { file }).flat_map(|file| match file {
            Ok(file) => chunks(file).map(|chunk| Ok(chunk?)).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        })
    }
}

/// Uploads what a source has. If the source cannot be read to its end, the call is dropped before its items end, so that
/// the server does not keep a part of the file.
async fn upload(
    files: &FilesClient,
    name: &str,
    source: impl Read + Send + 'static,
    mut progress: Progress,
) -> Result<u64, Box<dyn std::error::Error>> {
    let (fail, failed) = oneshot::channel();
    let mut fail = Some(fail);
    let sent = chunks(source).filter_map(move |chunk| match chunk {
        Ok(chunk) => {
            progress.add(chunk.0.len());
            future::ready(Some(chunk)).left_future()
        }
        Err(error) => {
            if let Some(fail) = fail.take() {
                let _ = fail.send(error);
            }
            // The end of the stream would be the end of the file.
            future::pending().right_future()
        }
    });
    tokio::select! {
        stored = files.upload(name, sent).into_future() => Ok(stored?),
        Ok(error) = failed => Err(error.into()),
    }
}

/// Reads a source chunk by chunk, each when it is asked for.
fn chunks(source: impl Read) -> impl Stream<Item = io::Result<Chunk>> {
    stream::unfold(Some(source), |source| {
        future::ready(source.and_then(|mut source| {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            match (&mut source)
                .take(CHUNK_BYTES as u64)
                .read_to_end(&mut chunk)
            {
                Ok(0) => None,
                Ok(_) => Some((Ok(Base64(chunk)), Some(source))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    })
}

/// Reports the progress of a transfer, four times a second.
struct Progress {
    what: &'static str,
    size: u64,
    done: u64,
    started: Instant,
    reported: Instant,
}

impl Progress {
    fn new(what: &'static str, size: u64) -> Self {
        let now = Instant::now();
        Self {
            what,
            size,
            done: 0,
            started: now,
            reported: now,
        }
    }

    fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.reported.elapsed() >= Duration::from_millis(250) || self.done == self.size {
            self.reported = Instant::now();
            let percent = self.done * 100 / self.size.max(1);
            let rate = self.done as f64 / 1e6 / self.started.elapsed().as_secs_f64();
            println!("{} {percent:3} %, {rate:.0} MB/s", self.what);
        }
    }
}

struct FailingDisk;

impl Read for FailingDisk {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk has failed"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes: u64 = std::env::args()
        .nth(1)
        .map_or(Ok(100), |text| text.parse())?;
    let size = megabytes * 1_000_000;
    let (here, there) = (TempDir::new()?, TempDir::new()?);
    let source = here.path().join("source");
    let bytes = (0..=255).cycle().take(1_000_000).collect::<Vec<u8>>();
    let mut file = File::create(&source)?;
    (0..megabytes).try_for_each(|_| file.write_all(&bytes))?;

    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let trust = Trust::certificate(identity.certificate());
    let folder = FilesServer::new(Folder(there.path().to_owned()));
    let server = Server::builder(identity)
        .service(folder)
        .bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    tokio::spawn(server.run());
    let files = FilesClient::new(Client::builder().trust(trust).connect(address).await?);

    let progress = Progress::new("upload  ", size);
    let stored = upload(&files, "copy", File::open(&source)?, progress).await?;
    assert_eq!(stored, size);

    // A disk that fails in the middle of a file.
    let start = File::open(&source)?.take(size / 2);
    let progress = Progress::new("part    ", size);
    let part = upload(&files, "part", start.chain(FailingDisk), progress).await;
    let error = part.expect_err("the source cannot be read to its end");
    assert_eq!(error.to_string(), "the disk has failed");
    let kept = files.size("part").await;
    assert!(matches!(
        kept,
        Err(CallError::Application(FileError::NotFound))
    ));

    let target = here.path().join("target");
    let mut file = File::create(&target)?;
    let mut progress = Progress::new("download", files.size("copy").await?);
    let mut received = files.download("copy", 0);
    while let Some(chunk) = received.next().await {
        let Base64(chunk) = chunk?;
        file.write_all(&chunk)?;
        progress.add(chunk.len());
    }
    drop(file);

    assert!(files.size("../source").await.is_err());
    let (source, target) = (std::fs::read(source)?, std::fs::read(target)?);
    assert!(source == target, "the file is another one");
    println!("{size} bytes came back as they were");
    Ok(())
}
