//! Questions about a bucket that `object_store` does not know: signed, and bounded in time and size.

use std::sync::Arc;

use object_store::aws::{AmazonS3, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::{StatusCode, Url};

use super::{ANSWER_TIMEOUT, CONNECT_TIMEOUT};

/// Asks one bucket. Cheap to clone.
#[derive(Clone)]
pub(super) struct Asker(Arc<Inner>);

struct Inner {
    credentials: AwsCredentialProvider,
    region: String,
    bucket: Url,
    http: reqwest::Client,
}

/// A bucket's answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

/// Nobody answers, or not us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unanswered(pub(super) String);

impl Unanswered {
    fn because(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl Asker {
    /// Of the bucket at `url`, as who `store` is.
    pub(super) fn new(
        store: &AmazonS3,
        region: &str,
        url: &str,
        ca_pem: Option<&[u8]>,
    ) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = ca_pem {
            http = http.add_root_certificate(reqwest::Certificate::from_pem(pem)?);
        }
        let http = http.build()?;
        // What reqwest says of a URL that is none.
        let bucket = http.get(format!("{url}/")).build()?.url().clone();
        Ok(Self(Arc::new(Inner {
            credentials: store.credentials().clone(),
            region: region.to_owned(),
            bucket,
            http,
        })))
    }

    /// `GET /?query` of the bucket, with an answer of at most `bytes_max`.
    pub(super) async fn get(&self, query: &[(&str, &str)], bytes_max: usize) -> Result<Answer, Unanswered> {
        let Inner {
            credentials,
            region,
            bucket,
            http,
        } = &*self.0;
        let credentials = credentials.get_credential().await;
        let credentials = credentials.map_err(|_| Unanswered::because("there are no credentials"))?;
        let mut url = bucket.clone();
        url.query_pairs_mut().extend_pairs(query);
        // A form's plus is a blank, in a signature it is `%20`; a plus itself is `%2B` in both.
        let spaced = url.query().unwrap_or_default().replace('+', "%20");
        url.set_query(Some(&spaced));
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url
            .as_str()
            .parse()
            .map_err(|_| Unanswered::because("its address is none"))?;
        AwsAuthorizer::new(&credentials, "s3", region)
            .try_authorize(&mut request, None)
            .map_err(|_| Unanswered::because("the request cannot be signed"))?;
        let headers = std::mem::take(request.headers_mut());
        let sent = http.get(url).headers(headers).send().await;
        let mut answer = sent.map_err(|_| Unanswered::because("it cannot be reached"))?;
        let (status, mut body) = (answer.status(), Vec::new());
        while let Some(part) = answer
            .chunk()
            .await
            .map_err(|_| Unanswered::because("it broke off"))?
        {
            if body.len() + part.len() > bytes_max {
                return Err(Unanswered::because("the answer is too long"));
            }
            body.extend_from_slice(&part);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body })
    }
}
