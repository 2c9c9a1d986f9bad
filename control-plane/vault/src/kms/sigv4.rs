//! AWS Signature Version 4 for the one kind of request we make: `POST /` with a JSON body.
//!
//! Ours rather than the SDK's: the official crates bring a second HTTP stack, a second set of hash functions and some
//! hundred packages for what is forty lines over the crypto library that is here anyway; the published
//! test vectors say whether they are right. (AWS General Reference, "Signature Version 4 signing process".)

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use time::OffsetDateTime;
use time::macros::format_description;
use zeroize::Zeroizing;

/// Who signs.
#[derive(Clone)]
pub(crate) struct Signer<'a> {
    pub(crate) access_key_id: &'a str,
    pub(crate) secret_access_key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// The time as requests name it, `20150830T123600Z`.
pub(crate) fn amz_date(now: OffsetDateTime) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    now.to_offset(time::UtcOffset::UTC)
        .format(format)
        .expect("an instant has these parts")
}

impl Signer<'_> {
    /// The `Authorization` header. `headers` are lower-case, sorted by name, and hold `host` and `x-amz-date`.
    pub(crate) fn authorization(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let date_time = headers
            .iter()
            .find(|(name, _)| *name == "x-amz-date")
            .map_or("", |(_, value)| *value);
        let date = &date_time[..date_time.len().min(8)];
        let canonical: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let request = format!(
            "{method}\n{path}\n\n{canonical}\n{names}\n{}",
            hex(digest(&SHA256, body).as_ref())
        );
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{date_time}\n{scope}\n{}",
            hex(digest(&SHA256, request.as_bytes()).as_ref())
        );
        let signature = hex(hmac::sign(&self.key(date), to_sign.as_bytes()).as_ref());
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id
        )
    }

    fn key(&self, date: &str) -> hmac::Key {
        let secret = Zeroizing::new(format!("AWS4{}", self.secret_access_key));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        for part in [date, self.region, self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        key
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `post-vanilla` of the published Signature Version 4 test suite.
    #[test]
    fn the_published_vector_comes_out() {
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
            service: "service",
        };
        let headers = [
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
        ];
        let made = signer.authorization("POST", "/", &headers, b"");
        assert_eq!(
            made,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
        let instant = OffsetDateTime::from_unix_timestamp(1_440_938_160).unwrap();
        assert_eq!(amz_date(instant), "20150830T123600Z");
    }
}
