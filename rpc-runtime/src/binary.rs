//! Bytes that travel as text.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// Bytes that are written as a string in Base64 ([RFC 4648, section 4](https://www.rfc-editor.org/rfc/rfc4648#section-4),
/// with padding).
///
/// JSON has no bytes: serde writes a `Vec<u8>` as an array of numbers, which takes up to four bytes for each byte and is read
/// number by number. As Base64 three bytes take four. `T` is a `Vec<u8>`, a `Box<[u8]>`, a `Cow<[u8]>`, an array `[u8; N]` of
/// any length, or another type that can be created from a `Vec<u8>`. It may be an argument, a result, an item, and a field
/// at any depth.
///
/// ```
/// use std::borrow::Cow;
///
/// use rpc_runtime::{Base64, Client, rpc};
///
/// #[rpc]
/// trait Blobs {
///     /// The caller lends its bytes; the handler gets its own.
///     async fn reversed(&self, blob: Base64<Cow<'_, [u8]>>) -> Base64<Vec<u8>>;
/// }
///
/// struct Store;
///
/// impl Blobs for Store {
///     async fn reversed(&self, blob: Base64<Cow<'_, [u8]>>) -> Base64<Vec<u8>> {
///         Base64(blob.0.iter().rev().copied().collect())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), rpc_runtime::CallError> {
/// let blobs = BlobsClient::new(Client::local(BlobsServer::new(Store)));
/// let reversed = blobs.reversed(Base64(Cow::Borrowed(&[0, 255]))).await?;
/// assert_eq!(reversed.0, [255, 0]);
/// # Ok(())
/// # }
/// ```
///
/// On the wire the argument is `"AP8="`. With the feature `openrpc` its schema is a string with the `contentEncoding`
/// `base64`.
///
/// # Errors
/// Text that is not Base64, or has no padding, is an argument, result or item of the wrong type. So is text of another
/// number of bytes than an array has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base64<T>(pub T);

impl<T: AsRef<[u8]>> AsRef<[u8]> for Base64<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl<T> From<T> for Base64<T> {
    fn from(bytes: T) -> Self {
        Self(bytes)
    }
}

impl<T: AsRef<[u8]>> Serialize for Base64<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0.as_ref(), &STANDARD))
    }
}

impl<'de, T: TryFrom<Vec<u8>>> Deserialize<'de> for Base64<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64Text(PhantomData))
    }
}

struct Base64Text<T>(PhantomData<T>);

impl<T: TryFrom<Vec<u8>>> Visitor<'_> for Base64Text<T> {
    type Value = Base64<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string in Base64")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64<T>, E> {
        let invalid = |error| E::custom(format_args!("the string is not Base64: {error}"));
        let bytes = STANDARD.decode(text).map_err(invalid)?;
        let len = bytes.len();
        let bytes = bytes.try_into().map_err(|_| {
            E::custom(format_args!(
                "the string has {len} bytes in Base64, which is not the expected number"
            ))
        })?;
        Ok(Base64(bytes))
    }
}

#[cfg(feature = "openrpc")]
impl<T> schemars::JsonSchema for Base64<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "contentEncoding": "base64"})
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn read<T: TryFrom<Vec<u8>>>(text: &str) -> Result<T, String> {
        let json = serde_json::to_string(text).expect("a string is JSON");
        let read = serde_json::from_str::<Base64<T>>(&json);
        read.map(|bytes| bytes.0).map_err(|error| error.to_string())
    }

    #[test]
    fn bytes_of_every_form_are_written_and_read() {
        assert_eq!(read::<Vec<u8>>("AP8=").as_deref(), Ok(&[0, 255][..]));
        assert_eq!(read::<Box<[u8]>>("AP8=").as_deref(), Ok(&[0, 255][..]));
        assert_eq!(read::<Cow<'_, [u8]>>("AP8="), Ok(Cow::Owned(vec![0, 255])));
        assert_eq!(read("AP8="), Ok([0, 255]));
        let long: [u8; 64] = std::array::from_fn(|byte| byte as u8);
        let text = serde_json::to_string(&Base64(long)).expect("an array is written");
        let back: Base64<[u8; 64]> = serde_json::from_str(&text).expect("it is read");
        assert_eq!(back.0, long);
    }

    #[test]
    fn text_that_cannot_be_read_is_an_error_that_names_base64() {
        for text in ["AP8", "A*8=", "AP8=\n"] {
            let error = read::<Vec<u8>>(text).expect_err(text);
            assert!(error.starts_with("the string is not Base64: "), "{error}");
        }
        let error = read::<[u8; 3]>("AP8=").expect_err("an array of another length");
        assert!(error.contains("2 bytes in Base64"), "{error}");
        let error = serde_json::from_str::<Base64<Vec<u8>>>("[0,255]").expect_err("an array");
        assert!(
            error.to_string().contains("expected a string in Base64"),
            "{error}"
        );
    }
}
