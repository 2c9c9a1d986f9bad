//! What outside systems answer and sign: machines, providers of identity, object storage, servers.

use uuid::Uuid;

use crate::{join, write};

pub(crate) fn assertions() {
    let target = "client_assertions";
    let client = Uuid::from_u128(1);
    let claims = format!(
        r#"{{"iss":"{client}","sub":"{client}","aud":"https://portal.test/oauth/token","exp":1800000060,"iat":1800000000,"nbf":1799999990,"jti":"0123456789abcdef"}}"#
    );
    for (name, header) in [
        ("good", r#"{"alg":"ES384","typ":"JWT","kid":"k"}"#),
        (
            "named",
            r#"{"alg":"ES384","typ":"client-authentication+jwt","kid":"k"}"#,
        ),
        ("other_key", r#"{"alg":"ES384","kid":"other"}"#),
        ("other_algorithm", r#"{"alg":"RS384","kid":"k"}"#),
        ("none", r#"{"alg":"none","kid":"k"}"#),
        ("shared_secret", r#"{"alg":"HS384","kid":"k"}"#),
        (
            "critical",
            r#"{"alg":"ES384","kid":"k","crit":["b64"],"b64":false}"#,
        ),
    ] {
        write(
            target,
            name,
            join(&[&[1], header.as_bytes(), b"\n", claims.as_bytes()]),
        );
    }
    // {"alg":"ES384","kid":"k"} and {"sub":"00000000-0000-0000-0000-000000000001"}, signed by nobody.
    let unsigned = "eyJhbGciOiJFUzM4NCIsImtpZCI6ImsifQ.eyJzdWIiOiIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDEifQ.AAAA";
    write(target, "unsigned", join(&[&[0], unsigned.as_bytes()]));
}

pub(crate) fn providers() {
    let target = "provider_answers";
    for (name, url) in [
        ("name", "https://login.example.org/tenant/v2.0"),
        ("address", "https://192.0.2.1:8443/"),
        ("inside", "https://[::ffff:10.0.0.1]/"),
        ("decimal", "https://2130706433/"),
        ("octal", "https://0177.0.0.1/"),
        ("user", "https://a:b@login.example.org/"),
        ("public", "https://[2606:4700::1111]/path"),
    ] {
        write(target, name, join(&[&[0], url.as_bytes()]));
    }
    let discovery = r#"{"issuer":"https://a.example","authorization_endpoint":"https://a.example/a","token_endpoint":"https://a.example/t","jwks_uri":"https://a.example/k","token_endpoint_auth_methods_supported":["client_secret_post"]}"#;
    write(target, "discovery", join(&[&[1], discovery.as_bytes()]));
    write(
        target,
        "tokens",
        b"\x01{\"id_token\":\"a.b.c\",\"access_token\":\"x\"}",
    );
    let ec = r#"{"kty":"EC","crv":"P-256","kid":"k","use":"sig","x":"YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y","y":"eQP-EAi4vJmkGunpViii8ZPLJg0l6gx0fnXvEBf5TiQ"}"#;
    let rsa = format!(
        r#"{{"kty":"RSA","alg":"RS256","n":"{}w","e":"AQAB"}}"#,
        "_".repeat(341)
    );
    let set = format!(r#"{{"keys":[{ec},{rsa}]}}"#);
    let token = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.e30.AAAA";
    write(
        target,
        "keys",
        join(&[&[2], set.as_bytes(), b"\n", token.as_bytes()]),
    );
    write(target, "token", join(&[&[3], token.as_bytes()]));
    let claims = r#"{"iss":"https://login.example.org","sub":"1","aud":["clinic"],"azp":"clinic","exp":1800000300,"iat":1799999999,"nonce":"n-1","amr":["pwd","otp"],"acr":"2","auth_time":1799999990,"email":"a@b.org"}"#;
    let header = br#"{"alg":"ES256","kid":"k"}"#;
    write(target, "claims", join(&[&[4], header, b"\n", claims.as_bytes()]));
    write(
        target,
        "nameless",
        join(&[&[4], br#"{"alg":"ES256"}"#, b"\n", claims.as_bytes()]),
    );
}

pub(crate) fn storages() {
    let target = "storage_answers";
    let lock = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Years>7</Years></DefaultRetention></Rule></ObjectLockConfiguration>";
    write(target, "lock", join(&[&[0], lock.as_bytes()]));
    let none = "<Error><Code>ObjectLockConfigurationNotFoundError</Code></Error>";
    write(target, "no_lock", join(&[&[1], none.as_bytes()]));
    let versions = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    write(target, "versioning", join(&[&[2], versions.as_bytes()]));
    let page = "<ListVersionsResult><Name>n</Name><KeyMarker></KeyMarker><NextKeyMarker>a%2Fb</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker><IsTruncated>true</IsTruncated><Version><Key>a%2Fb+c</Key><VersionId>v</VersionId><IsLatest>false</IsLatest><Owner><ID>o</ID></Owner></Version><DeleteMarker><Key>a</Key><IsLatest>true</IsLatest></DeleteMarker></ListVersionsResult>";
    write(target, "page", join(&[&[3], page.as_bytes()]));
    write(
        target,
        "entities",
        b"\x03<!DOCTYPE a [<!ENTITY b \"c\">]><ListVersionsResult>&b;</ListVersionsResult>",
    );
}

pub(crate) fn clients() {
    let target = "client_answers";
    write(target, "ping", b"event: ping\ndata: {}");
    write(target, "message", b"event: message\ndata: {\"id\":\ndata: 1}");
    write(
        target,
        "link",
        b"<https://a.example/v1/audit?limit=2&cursor=AAAA>; rel=\"next\"",
    );
    write(target, "gauge", b"# TYPE gauge gauge\ngauge 12\n");
    write(
        target,
        "numbers",
        b"\x30\x0a\x02\x05\x00\xff\xff\xff\xff\x02\x01\x03",
    );
    write(
        target,
        "long_form",
        join(&[
            b"\x30\x81\x88\x02\x81\x81\x00",
            &[0xff; 128],
            b"\x02\x03\x01\x00\x01",
        ]),
    );
    write(target, "pem", b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n");
}
