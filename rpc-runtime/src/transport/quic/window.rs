//! The receive window of a connection, of which some streams may stay unread.

use std::sync::Arc;

use quinn::VarInt;

use crate::sync::{Mutex, lock};
use crate::transport::settings::TransportSettings;

/// The receive window of a connection. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct ReceiveWindow(Arc<Mutex<Unread>>);

/// The number of streams that may stay unread without limit.
#[derive(Debug)]
struct Unread {
    windows: Windows,
    streams: u32,
    /// The maximum that `streams` has had.
    most: u32,
}

impl ReceiveWindow {
    pub(super) fn new(windows: Windows) -> Self {
        Self(Arc::new(Mutex::new(Unread {
            windows,
            streams: 0,
            most: 0,
        })))
    }

    /// Widens the window of the connection for one more stream that may stay unread. The window never shrinks, so later
    /// streams reuse it.
    pub(super) fn make_room(&self, connection: &quinn::Connection) -> Room {
        let mut unread = lock(&self.0);
        let stream = unread.windows.stream;
        unread.streams += 1;
        if unread.streams > unread.most {
            unread.most = unread.streams;
            connection.set_receive_window(unread.windows.with(unread.most));
        }
        Room {
            window: self.clone(),
            bytes: stream,
        }
    }

    /// Returns the number of streams without room of their own that leave the others no window if they stay unread.
    pub(super) fn most_unread(&self) -> usize {
        let unread = lock(&self.0);
        let others = unread.windows.others(unread.most);
        usize::try_from(others / u64::from(unread.windows.stream)).unwrap_or(usize::MAX)
    }
}

/// A part of the connection's window for a stream that may stay unread, so that it does not block other streams.
#[derive(Debug)]
pub(crate) struct Room {
    window: ReceiveWindow,
    bytes: u32,
}

impl Room {
    /// Returns the number of bytes by which the window is wider.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        lock(&self.window.0).streams -= 1;
    }
}

/// The receive windows of a stream and of a connection without streams that may stay unread, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    stream: u32,
    connection: u32,
}

impl Windows {
    pub(super) fn of(settings: &TransportSettings) -> Self {
        Self {
            stream: settings.stream_receive_window,
            connection: settings.receive_window,
        }
    }

    /// Returns the window of a connection with this number of streams that may stay unread.
    fn with(self, streams: u32) -> VarInt {
        let window = self.unread_bytes(streams) + self.others(streams);
        window.try_into().unwrap_or(VarInt::MAX)
    }

    fn unread_bytes(self, streams: u32) -> u64 {
        u64::from(self.stream) * u64::from(streams)
    }

    /// Returns the part of that window that is left for the other streams.
    fn others(self, streams: u32) -> u64 {
        // quinn announces a new limit when an eighth of the window has been read, so the other streams need as much.
        u64::from(self.connection).max(self.unread_bytes(streams) / 7 + 1)
    }
}
