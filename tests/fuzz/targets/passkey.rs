//! What authenticators and browsers say, before anybody is signed in: client data, authenticator
//! data, attestation objects, COSE keys.
#![no_main]

use libfuzzer_sys::fuzz_target;
use medmesh_clinic::identity::passkey::{
    Assertion, CREDENTIAL_ID_BYTES_MAX, Credential, Registration, authenticate, challenge_of, register,
};
use medmesh_fuzz::input::Input;
use medmesh_fuzz::passkey::{CREATED, GOT, cose, expectation, origins};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let origins = origins();
    let expected = expectation(&origins);
    match input.byte() % 4 {
        0 => registers(&Registration {
            client_data: CREATED.as_bytes(),
            attestation_object: input.0,
        }),
        1 => {
            let _ = challenge_of(input.0);
            registers(&Registration {
                client_data: input.0,
                attestation_object: &[],
            });
        }
        2 => {
            // The key was stored; nobody here has its private half.
            let given = Assertion {
                client_data: GOT.as_bytes(),
                authenticator_data: input.chunk(),
                signature: input.chunk(),
                user_handle: (!input.is_empty()).then_some(input.0),
            };
            let stored = stored(cose());
            assert!(authenticate(&expected, &stored, b"owner", &given).is_err());
        }
        _ => {
            // A key as a registration would have stored it.
            let stored = stored(input.chunk().to_vec());
            let given = Assertion {
                client_data: GOT.as_bytes(),
                authenticator_data: input.chunk(),
                signature: input.0,
                user_handle: None,
            };
            let _ = authenticate(&expected, &stored, b"owner", &given);
        }
    }
});

fn stored(public_key: Vec<u8>) -> Credential {
    Credential {
        id: vec![1; 16],
        public_key,
        sign_count: 0,
        backup_eligible: false,
        backed_up: false,
        aaguid: uuid::Uuid::nil(),
    }
}

fn registers(given: &Registration<'_>) {
    let origins = origins();
    let expected = expectation(&origins);
    if let Ok(credential) = register(&expected, given) {
        assert!((1..=CREDENTIAL_ID_BYTES_MAX).contains(&credential.id.len()));
        assert_eq!(register(&expected, given), Ok(credential.clone()));
        // What was stored is a key again: an assertion fails at its signature or before it, not at the key.
        let assertion = Assertion {
            client_data: GOT.as_bytes(),
            authenticator_data: &[],
            signature: &[],
            user_handle: None,
        };
        assert!(authenticate(&expected, &credential, b"owner", &assertion).is_err());
    }
}
