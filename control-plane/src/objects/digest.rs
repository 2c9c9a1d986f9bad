//! A digest with every object: a bucket that locks takes none without (PutObject, "Object Lock":
//! `Content-MD5` or `x-amz-sdk-checksum-algorithm`), and `object_store` has neither.
//!
//! `Content-MD5` need not be signed, so that it can be added to a request that is. It guards against
//! accidents on the way; against people there is the SHA-256 that `object_store` signs.

use std::pin::Pin;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt as _;
use md5::{Digest as _, Md5};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Makes clients that add the digest.
#[derive(Debug, Default)]
pub(super) struct WithDigest;

#[derive(Debug)]
struct Service(HttpClient);

impl HttpConnector for WithDigest {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service(client)))
    }
}

impl HttpService for Service {
    fn call<'service, 'call>(
        &'service self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'service: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            if request.method() != Method::PUT {
                return self.0.execute(request).await;
            }
            let (mut parts, body) = request.into_parts();
            let bytes = body.collect().await;
            let bytes = bytes.map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
            let bytes = bytes.to_bytes();
            let digest = BASE64_STANDARD.encode(Md5::digest(&bytes));
            let digest = HeaderValue::from_str(&digest).expect("base64 is visible ASCII");
            parts.headers.insert(CONTENT_MD5, digest);
            let request = HttpRequest::from_parts(parts, bytes.into());
            self.0.execute(request).await
        })
    }
}
