//! Tokens that any replica verifies without asking the others: a text, signed with a key that the replicas share.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::files;

/// The user of a call. The middleware inserts it, and handlers read it from the extensions of their call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The name of the user.
    pub user: String,
    /// `true` if the user may call the methods of administrators.
    pub is_admin: bool,
}

/// The use of a token. One kind is not accepted in place of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Sent with each call.
    Access,
    /// Sent to get another access token.
    Refresh,
}

/// The signed content of a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    principal: Principal,
    kind: Kind,
    /// The time at which the token expires, in milliseconds since 1970.
    until: u64,
}

/// The key that signs and verifies tokens.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// Reads the key from a file.
    ///
    /// # Errors
    /// When the file cannot be read, or is too short to be a key.
    pub fn from_file(file: &Path) -> Result<Self, files::FileError> {
        let key = files::read(file)?;
        match key.len() {
            32.. => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key))),
            _ => Err(files::FileError::new(file, "a key has 32 bytes at least")),
        }
    }

    /// Issues a token that is valid for some time.
    pub fn issue(&self, principal: &Principal, kind: Kind, lifetime: Duration) -> String {
        let claims = Claims {
            principal: principal.clone(),
            kind,
            until: now().saturating_add(lifetime.as_millis() as u64),
        };
        let claims = serde_json::to_vec(&claims).expect("claims are strings and numbers");
        let signature = hmac::sign(&self.0, &claims);
        let [claims, signature] = [&claims, signature.as_ref()].map(|b| URL_SAFE_NO_PAD.encode(b));
        format!("{claims}.{signature}")
    }

    /// Returns the user of a token, or `None` if it is not a valid token of this kind. The signature is compared in
    /// constant time, before anything else is read.
    pub fn verify(&self, token: &str, kind: Kind) -> Option<Principal> {
        let (claims, signature) = token.split_once('.')?;
        let [claims, signature] = [claims, signature].map(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let (claims, signature) = (claims?, signature?);
        hmac::verify(&self.0, &claims, &signature).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        (claims.kind == kind && now() < claims.until).then_some(claims.principal)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_token_of_the_right_kind_is_accepted() {
        let key = |byte| TokenKey(hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32]));
        let ada = Principal {
            user: "ada".to_owned(),
            is_admin: false,
        };
        let issue = |kind, time| key(1).issue(&ada, kind, Duration::from_secs(time));
        let token = issue(Kind::Access, 60);
        assert_eq!(key(1).verify(&token, Kind::Access), Some(ada.clone()));
        assert_eq!(key(1).verify(&token, Kind::Refresh), None);
        assert_eq!(key(2).verify(&token, Kind::Access), None);
        assert_eq!(key(1).verify(&issue(Kind::Access, 0), Kind::Access), None);
        let (_, signature) = token.split_once('.').unwrap();
        let admin = r#"{"principal":{"user":"ada","is_admin":true},"kind":"Access","until":9e15}"#;
        let forged = format!("{}.{signature}", URL_SAFE_NO_PAD.encode(admin));
        for forged in [&forged, "", ".", "a.b", &token[1..]] {
            assert_eq!(key(1).verify(forged, Kind::Access), None, "{forged}");
        }
    }
}
