//! The files of the programs: a certificate and its key, the key of the tokens, and the accounts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};
use rpc_runtime::Identity;
use rpc_runtime::tls::TlsError;
use serde::{Deserialize, Serialize};

use crate::tokens::Principal;

/// The usual number of rounds of the hash of passwords.
pub const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

/// An error that names its file.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct FileError {
    file: String,
    reason: String,
}

impl FileError {
    /// Creates an error about `file`.
    pub fn new(file: &Path, reason: impl ToString) -> Self {
        Self {
            file: file.display().to_string(),
            reason: reason.to_string(),
        }
    }
}

/// Reads a file.
///
/// # Errors
/// When it cannot be read.
pub fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(file).map_err(|error| FileError::new(file, error))
}

/// Returns the content of the authority's certificate.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let name = &mut params.distinguished_name;
    name.push(DnType::CommonName, "orders authority");
    params
}

/// The folder that all servers of the example share. In production these are secrets that the platform mounts.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// Returns the path of the authority's certificate, which clients trust.
    pub fn authority(&self) -> PathBuf {
        self.0.join("authority.pem")
    }

    /// Returns the path of the key of the tokens.
    pub fn token_key(&self) -> PathBuf {
        self.0.join("token.key")
    }

    /// Returns the path of the accounts.
    pub fn accounts(&self) -> PathBuf {
        self.0.join("accounts.json")
    }

    /// Returns the path of the database.
    pub fn database(&self) -> PathBuf {
        self.0.join("orders.redb")
    }

    /// Creates the folder with an authority, a certificate of the authority, and a new key for tokens.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(&self) -> Result<(), FileError> {
        let failed = |error: io::Error| FileError::new(&self.0, error);
        fs::create_dir_all(&self.0).map_err(failed)?;
        self.create_authority()?;
        self.renew_certificate()?;
        let mut key = [0; 32];
        SystemRandom::new()
            .fill(&mut key)
            .map_err(|error| FileError::new(&self.token_key(), error))?;
        replace(&self.token_key(), &key)
    }

    fn create_authority(&self) -> Result<(), FileError> {
        let make = || {
            let key = KeyPair::generate()?;
            Ok((authority().self_signed(&key)?.pem(), key.serialize_pem()))
        };
        let made: Result<_, rcgen::Error> = make();
        let (certificate, key) = made.map_err(|error| FileError::new(&self.authority(), error))?;
        replace(&self.0.join("authority.key"), key.as_bytes())?;
        replace(&self.authority(), certificate.as_bytes())
    }

    /// Makes a new certificate for the servers, signed by the authority. Servers that receive SIGHUP read it.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn renew_certificate(&self) -> Result<(), FileError> {
        let file = self.0.join("authority.key");
        let key = fs::read_to_string(&file).map_err(|error| FileError::new(&file, error))?;
        let make = || {
            let issuer = Issuer::new(authority(), KeyPair::from_pem(&key)?);
            let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
            let key = KeyPair::generate()?;
            let made = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
            Ok((made.pem(), key.serialize_pem()))
        };
        let made: Result<_, rcgen::Error> = make();
        let (certificate, key) = made.map_err(|error| FileError::new(&self.0, error))?;
        replace(&self.0.join("key.pem"), key.as_bytes())?;
        replace(&self.0.join("certificate.pem"), certificate.as_bytes())
    }

    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub fn identity(&self) -> Result<Identity, TlsError> {
        Identity::from_pem_files(self.0.join("certificate.pem"), self.0.join("key.pem"))
    }
}

/// Replaces a file at once, with one that only this user may read. A reader finds the old or the new content.
fn replace(file: &Path, content: &[u8]) -> Result<(), FileError> {
    let new = file.with_extension("new");
    let write = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        private(&new)?.write_all(content)?;
        fs::rename(&new, file)
    };
    write().map_err(|error| FileError::new(file, error))
}

fn private(file: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

/// The users that may log in.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Accounts(Vec<Account>);

#[derive(Debug, Serialize, Deserialize)]
struct Account {
    #[serde(flatten)]
    principal: Principal,
    rounds: NonZeroU32,
    salt: [u8; 16],
    hash: [u8; 32],
}

impl Accounts {
    /// Reads the accounts from a file, or returns none if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn from_file(file: &Path) -> Result<Self, FileError> {
        match file.exists() {
            true => serde_json::from_slice(&read(file)?).map_err(|e| FileError::new(file, e)),
            false => Ok(Self::default()),
        }
    }

    /// Writes the accounts to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<(), FileError> {
        let text = serde_json::to_vec(self).map_err(|error| FileError::new(file, error))?;
        replace(file, &text)
    }

    /// Adds a user, or replaces the user of the same name. The more rounds, the longer takes each login, and each guess of an
    /// attacker who has the file.
    pub fn add(&mut self, principal: Principal, password: &str, rounds: NonZeroU32) {
        self.0
            .retain(|account| account.principal.user != principal.user);
        let (mut salt, mut hash) = ([0; 16], [0; 32]);
        SystemRandom::new()
            .fill(&mut salt)
            .expect("the system has random numbers");
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, rounds, &salt, password.as_bytes(), &mut hash);
        self.0.push(Account {
            principal,
            rounds,
            salt,
            hash,
        });
    }

    /// Returns the user if the password is right. Takes as long for a user that does not exist. This computes for tens of
    /// milliseconds, by design.
    pub fn verify(&self, user: &str, password: &str) -> Option<&Principal> {
        let mut accounts = self.0.iter();
        let found = accounts.find(|account| account.principal.user == user);
        let any = found.or(self.0.first())?;
        let (rounds, salt) = (any.rounds, any.salt);
        let hash = found.map_or([0; 32], |found| found.hash);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::verify(algorithm, rounds, &salt, password.as_bytes(), &hash).ok()?;
        found.map(|found| &found.principal)
    }
}
