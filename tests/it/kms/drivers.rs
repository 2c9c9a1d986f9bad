//! The two drivers that speak to a KMS a network away, against the simulators.

use std::path::Path;

use medmesh_base::ClinicId;
use medmesh_tests::kms::{AwsSimulator, Simulator as _, TransitSimulator};
use medmesh_vault::DataKey;
use medmesh_vault::kms::{
    AwsCredentials, AwsKms, AwsSettings, Context, Kms, KmsError, TransitAuth, TransitKms, TransitSettings,
    Wrapped,
};
use uuid::Uuid;

fn context(n: u128) -> Context {
    Context {
        clinic: Some(ClinicId::from_uuid(Uuid::from_u128(n))),
        version: 1,
    }
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What every KMS must do, whichever it is.
async fn behaves(kms: &dyn Kms) {
    let (key, wrapped) = kms.generate(context(1)).await.unwrap();
    assert_eq!(
        kms.unwrap(context(1), &wrapped).await.unwrap().expose(),
        key.expose()
    );
    assert_eq!(wrapped.root, kms.root().await.unwrap());
    let own = DataKey::generate().unwrap();
    let own_wrapped = kms.wrap(context(2), &own).await.unwrap();
    assert_eq!(
        kms.unwrap(context(2), &own_wrapped).await.unwrap().expose(),
        own.expose()
    );
    let moved = [
        context(2),
        Context {
            clinic: None,
            ..context(1)
        },
        Context {
            version: 2,
            ..context(1)
        },
    ];
    for other in moved {
        let refused = kms.unwrap(other, &wrapped).await;
        assert!(matches!(refused, Err(KmsError::Refused(_))), "{refused:?}");
        assert!(matches!(
            kms.rewrap(other, &wrapped).await,
            Err(KmsError::Refused(_))
        ));
    }
    kms.rotate().await.unwrap();
    let root = kms.root().await.unwrap();
    assert_ne!(root, wrapped.root);
    assert_eq!(
        kms.unwrap(context(1), &wrapped).await.unwrap().expose(),
        key.expose()
    );
    let fresh = kms.rewrap(context(1), &wrapped).await.unwrap();
    assert_eq!(fresh.root, root);
    assert_ne!(fresh.blob, wrapped.blob);
    assert_eq!(
        kms.unwrap(context(1), &fresh).await.unwrap().expose(),
        key.expose()
    );
    let garbage = Wrapped {
        blob: b"vault:v1:AAAA".to_vec(),
        ..fresh
    };
    assert!(matches!(
        kms.unwrap(context(1), &garbage).await,
        Err(KmsError::Refused(_))
    ));
}

#[tokio::test]
async fn aws_signs_binds_rotates_and_tells_passing_faults_from_lasting_ones() {
    let dir = tempfile::tempdir().unwrap();
    let aws = AwsSimulator::start().await;
    let file = dir.path().join("credentials");
    aws.write_credentials(&file, None);
    let settings = AwsSettings {
        region: "eu-central-1".into(),
        key_id: "alias/medmesh".into(),
        endpoint: Some(aws.url().to_owned()),
        credentials: AwsCredentials::File(file.clone()),
    };
    let kms = AwsKms::new(settings.clone()).unwrap();
    behaves(&kms).await;
    let (_, wrapped) = kms.generate(context(1)).await.unwrap();
    for status in [400, 500, 503] {
        aws.fails(status);
        let passing = kms.unwrap(context(1), &wrapped).await;
        assert!(
            matches!(passing, Err(KmsError::Unavailable(_))),
            "{status}: {passing:?}"
        );
    }
    aws.goes();
    let gone = kms.unwrap(context(1), &wrapped).await;
    assert!(matches!(gone, Err(KmsError::Unavailable(_))), "{gone:?}");
    aws.returns();
    let no_key = AwsKms::new(AwsSettings {
        key_id: "alias/other".into(),
        ..settings.clone()
    });
    assert!(matches!(
        no_key.unwrap().generate(context(1)).await,
        Err(KmsError::Refused(_))
    ));
    aws.write_credentials(&file, Some("another secret"));
    let refused = kms.unwrap(context(1), &wrapped).await.unwrap_err();
    assert!(
        refused.to_string().contains("InvalidSignatureException"),
        "{refused}"
    );
    let gone = AwsKms::new(AwsSettings {
        endpoint: Some("http://127.0.0.1:9".into()),
        ..settings
    });
    assert!(matches!(
        gone.unwrap().root().await,
        Err(KmsError::Unavailable(_))
    ));
}

#[tokio::test]
async fn transit_signs_in_binds_rotates_and_comes_back_after_a_seal() {
    let dir = tempfile::tempdir().unwrap();
    let transit = TransitSimulator::start().await;
    let secret_id_file = dir.path().join("secret-id");
    transit.write_secret_id(&secret_id_file, Some("secret\n"));
    let settings = TransitSettings {
        url: transit.url().to_owned(),
        mount: "transit".into(),
        key: "medmesh".into(),
        auth: TransitAuth::AppRole {
            role_id: "role".into(),
            secret_id_file: secret_id_file.clone(),
        },
        ca_file: None,
    };
    let kms = TransitKms::new(settings.clone()).unwrap();
    behaves(&kms).await;
    let (key, wrapped) = kms.generate(context(1)).await.unwrap();

    // The token runs out: signed in anew, once, without anybody noticing.
    transit.set_token("second");
    assert_eq!(
        kms.unwrap(context(1), &wrapped).await.unwrap().expose(),
        key.expose()
    );
    transit.fails(503);
    let sealed = kms.unwrap(context(1), &wrapped).await;
    assert!(matches!(sealed, Err(KmsError::Unavailable(_))), "{sealed:?}");
    transit.returns();
    kms.unwrap(context(1), &wrapped).await.unwrap();

    let token_file = dir.path().join("token");
    write_private(&token_file, "wrong\n");
    let by_token = TransitKms::new(TransitSettings {
        auth: TransitAuth::TokenFile(token_file.clone()),
        ..settings.clone()
    })
    .unwrap();
    assert!(matches!(by_token.root().await, Err(KmsError::Refused(_))));
    write_private(&token_file, "second\n");
    by_token.root().await.expect("a renewed token is read again");
    transit.write_secret_id(&secret_id_file, Some("guessed"));
    let stranger = TransitKms::new(settings).unwrap();
    assert!(matches!(stranger.root().await, Err(KmsError::Refused(_))));
    assert!(!format!("{stranger:?} {by_token:?}").contains("second"));
}
