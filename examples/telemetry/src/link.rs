//! Connects clients to the server. The server's certificate is in its folder, and clients are given the file to trust.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rpc_runtime::{Client, ConnectError, Identity, Trust};

use crate::api::TelemetryClient;

/// The time that a client waits before it tries again.
pub const PAUSE: Duration = Duration::from_millis(200);

/// The folder of the server's files.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// Returns the path of the database.
    pub fn database(&self) -> PathBuf {
        self.0.join("telemetry.redb")
    }

    /// Returns the path of the certificate that clients are to trust.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    /// Returns the server's identity. It is the same after each start, so that clients keep trusting it.
    ///
    /// # Errors
    /// When the files cannot be read or created.
    pub fn identity(&self) -> Result<Identity, Box<dyn std::error::Error>> {
        create_private_dir(&self.0)?;
        // The certificate is written last: if it exists, its key exists, too.
        if !self.certificate().exists() {
            let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
            let made = rcgen::generate_simple_self_signed(names)?;
            write_private(&self.key(), &made.signing_key.serialize_pem())?;
            fs::write(self.certificate(), made.cert.pem())?;
        }
        Ok(Identity::from_pem_files(self.certificate(), self.key())?)
    }
}

/// Creates a folder to which only this user has access, if there is none.
fn create_private_dir(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a new file that only this user may read. Removes an existing file first, which may belong to another user or be
/// readable by other users.
fn write_private(file: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}

/// Connects to the server at `address`, and waits while the server has not been started. The client reconnects whenever
/// its connection is lost.
///
/// # Errors
/// When waiting does not help: the certificate cannot be read, or the server has another certificate.
pub async fn connect(
    address: &str,
    certificate: &Path,
) -> Result<TelemetryClient, Box<dyn std::error::Error>> {
    loop {
        let client = Client::builder()
            .trust(Trust::pem_file(certificate)?)
            .reconnect_backoff(Duration::from_millis(20), Duration::from_secs(1));
        match client.connect(address).await {
            Ok(client) => return Ok(TelemetryClient::new(client)),
            Err(ConnectError::Timeout { .. } | ConnectError::Refused { .. }) => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn key_is_for_its_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder(parent.path().join("new"));
        folder.identity().unwrap();
        assert_eq!(mode(&folder.0), 0o700);
        assert_eq!(mode(&folder.key()), 0o600);
    }

    #[test]
    fn key_in_place_of_an_open_file_is_for_its_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder(parent.path().to_owned());
        fs::write(folder.key(), "").unwrap();
        fs::set_permissions(folder.key(), fs::Permissions::from_mode(0o666)).unwrap();
        folder.identity().unwrap();
        assert_eq!(mode(&folder.key()), 0o600);
    }
}
