//! Everything that was ever put under a name, whoever hides it (S3 `ListObjectVersions`).
//!
//! In a bucket that locks nothing is removed, but whoever has our keys can put a delete marker in front
//! of an object, and it is in no plain listing any more. What must not be forgotten is listed here.

use reqwest::Url;
use serde::Deserialize;

use super::ask::{Asker, Unanswered};

/// Largest page read: a thousand entries of some seven hundred bytes, and names of a kilobyte.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Pages of one listing at most: ten million entries, which nothing of ours comes near.
const PAGES_MAX: usize = 10_000;

/// Lists names with all their versions.
#[derive(Clone)]
pub(super) struct Versions(pub(super) Asker);

/// A name with what was put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// The object's name.
    pub(crate) name: String,
    /// Whether this is what a plain listing would show, and it shows nothing.
    pub(crate) hides: bool,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(rename = "$value", default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
enum Item {
    IsTruncated(bool),
    NextKeyMarker(String),
    NextVersionIdMarker(String),
    Version(Entry),
    DeleteMarker(Entry),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    is_latest: bool,
}

/// One page, and where the next begins.
pub(super) struct Page {
    pub(super) found: Vec<Version>,
    pub(super) next: Option<(String, String)>,
}

impl Versions {
    /// Every version and delete marker of every name that begins with `prefix`.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Version>, Unanswered> {
        let (mut found, mut next) = (Vec::new(), None::<(String, String)>);
        for _ in 0..PAGES_MAX {
            let mut query = vec![("versions", ""), ("prefix", prefix), ("encoding-type", "url")];
            if let Some((key, version)) = &next {
                query.extend([("key-marker", key.as_str()), ("version-id-marker", version)]);
            }
            let answer = self.0.get(&query, PAGE_BYTES_MAX).await?;
            if !answer.status.is_success() {
                return Err(Unanswered(format!("it answers {}", answer.status)));
            }
            let page = page(&answer.body).ok_or_else(|| Unanswered("the answer is none".to_owned()))?;
            found.extend(page.found);
            next = page.next;
            if next.is_none() {
                return Ok(found);
            }
        }
        Err(Unanswered("there is no end of it".to_owned()))
    }
}

pub(super) fn page(body: &str) -> Option<Page> {
    let listing: Listing = quick_xml::de::from_str(body).ok()?;
    let (mut is_truncated, mut key, mut version) = (false, None, None);
    let mut found = Vec::new();
    for item in listing.items {
        match item {
            Item::IsTruncated(truncated) => is_truncated = truncated,
            Item::NextKeyMarker(marker) => key = Some(decoded(&marker)?),
            Item::NextVersionIdMarker(marker) => version = Some(marker),
            Item::Version(entry) => found.push(Version {
                name: decoded(&entry.key)?,
                hides: false,
            }),
            Item::DeleteMarker(entry) => found.push(Version {
                name: decoded(&entry.key)?,
                hides: entry.is_latest,
            }),
            Item::Other => {}
        }
    }
    // More to come and no word where from: half a list would be believed to be the whole.
    let next = if is_truncated {
        Some((key?, version.unwrap_or_default()))
    } else {
        None
    };
    Some(Page { found, next })
}

/// A name as it is, of one as it is in an answer: encoded as in a URL's query, so that no name, however
/// strange, is malformed XML.
fn decoded(name: &str) -> Option<String> {
    let url = Url::parse(&format!("http://name/?n={name}")).ok()?;
    let (_, name) = url.query_pairs().next()?;
    Some(name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(middle: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
             <ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">
             <Name>register</Name><Prefix>erasures%2F</Prefix><KeyMarker></KeyMarker><MaxKeys>1000</MaxKeys>
             <EncodingType>url</EncodingType>{middle}</ListVersionsResult>"
        )
    }

    fn entry(kind: &str, key: &str, is_latest: bool) -> String {
        format!(
            "<{kind}><Key>{key}</Key><VersionId>3/L4</VersionId><IsLatest>{is_latest}</IsLatest>
             <LastModified>2026-11-22T12:00:00.000Z</LastModified><Owner><ID>7</ID></Owner></{kind}>"
        )
    }

    #[test]
    fn what_is_hidden_is_found_wherever_it_stands() {
        let middle = [
            "<IsTruncated>false</IsTruncated>".to_owned(),
            entry("DeleteMarker", "erasures/a", true),
            entry("Version", "erasures/a", false),
            entry("Version", "erasures/b", true),
            entry("DeleteMarker", "erasures/c", false),
            entry("Version", "erasures/a%20%00+%3C%26", true),
        ];
        let page = page(&answer(&middle.concat())).unwrap();
        assert!(page.next.is_none());
        let seen: Vec<(&str, bool)> = page.found.iter().map(|it| (it.name.as_str(), it.hides)).collect();
        assert_eq!(
            seen,
            [
                ("erasures/a", true),
                ("erasures/a", false),
                ("erasures/b", false),
                ("erasures/c", false),
                ("erasures/a \0 <&", false)
            ]
        );
    }

    #[test]
    fn half_a_list_is_never_taken_for_the_whole() {
        let more = "<IsTruncated>true</IsTruncated>";
        let to = "<NextKeyMarker>erasures%2Fb</NextKeyMarker><NextVersionIdMarker>x</NextVersionIdMarker>";
        let next = page(&answer(&format!("{more}{to}"))).unwrap().next;
        assert_eq!(next, Some(("erasures/b".to_owned(), "x".to_owned())));
        for broken in [
            answer(more),
            "<html>".to_owned(),
            answer("<Version><Key>a</Key></Version>"),
        ] {
            assert!(page(&broken).is_none(), "{broken}");
        }
        assert!(page(&answer("")).unwrap().found.is_empty());
    }
}
