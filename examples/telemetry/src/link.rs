//! How the parts find and trust each other: the server's certificate lies in its folder, and clients are given it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rpc_runtime::{Client, ConnectError, Identity, Trust};

use crate::api::TelemetryClient;

/// How long a client waits before it tries again.
pub const PAUSE: Duration = Duration::from_millis(200);

/// What the server keeps.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// The database.
    pub fn database(&self) -> PathBuf {
        self.0.join("telemetry.redb")
    }

    /// The certificate that clients are to trust.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    /// The server's identity, the same after each start: clients know it again.
    ///
    /// # Errors
    /// When the files cannot be read, or made.
    pub fn identity(&self) -> Result<Identity, Box<dyn std::error::Error>> {
        create_private_dir(&self.0)?;
        // The certificate comes last: if it is there, so is its key.
        if !self.certificate().exists() {
            let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
            let made = rcgen::generate_simple_self_signed(names)?;
            write_private(&self.key(), &made.signing_key.serialize_pem())?;
            fs::write(self.certificate(), made.cert.pem())?;
        }
        Ok(Identity::from_pem_files(self.certificate(), self.key())?)
    }
}

/// Creates a folder that only this user may enter, if there is none.
fn create_private_dir(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a new file that only this user may read, in place of one that is there: that may be another user's, or open to others.
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

/// A client of the server at `address`, which may not have been started yet. It connects again whenever it is cut off.
///
/// # Errors
/// When waiting does not help: the certificate cannot be read, or is another's.
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
            Err(ConnectError::Timeout | ConnectError::Refused(_)) => {
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
