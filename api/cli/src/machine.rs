//! What whoever sets up a hospital's system needs: a key, and a token to try it with.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use medmesh_api_client::{Machine, MachineKey};
use medmesh_base::ClientId;

use crate::operator::Connection;

/// Largest key file read: an RSA key of 4096 bits in PEM has 3 kB.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// What a machine of a clinic does.
#[derive(Subcommand, Clone, Debug)]
pub enum MachineVerb {
    /// Make a key (P-384), keep it in a file, and print its public half for an admin to register
    Key {
        /// Name of the key, by which assertions say which one signed them
        #[arg(long, value_name = "ID")]
        kid: String,
        /// File for the private half; it must not exist yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Get an access token and print it as JSON
    Token {
        /// The `client_id` the clinic registered
        #[arg(long, value_name = "UUID")]
        client_id: ClientId,
        /// Name the key is registered under
        #[arg(long, value_name = "ID")]
        kid: String,
        /// PEM file with the private key (PKCS#8), P-384 or RSA
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
        /// Some of the scopes, with spaces between; all when absent
        #[arg(long)]
        scope: Option<String>,
    },
}

/// Does it; gives what to print.
///
/// # Errors
/// When a file cannot be read or made, or no token is to be had.
pub async fn run(connection: &Connection, verb: MachineVerb) -> anyhow::Result<String> {
    match verb {
        MachineVerb::Key { kid, out } => key(&kid, &out),
        MachineVerb::Token {
            client_id,
            kid,
            key_file,
            scope,
        } => {
            let key = MachineKey::from_pem(&kid, &read(&key_file)?)
                .with_context(|| format!("{} holds no PKCS#8 key, P-384 or RSA", key_file.display()))?;
            let ca = connection.ca_file.as_ref().map(std::fs::read).transpose();
            let ca = ca.context("cannot read the authority's certificate")?;
            let machine = Machine::new(&connection.url, client_id, key, scope.as_deref(), ca.as_deref())?;
            Ok(serde_json::to_string_pretty(&machine.token().await?)? + "\n")
        }
    }
}

fn key(kid: &str, out: &Path) -> anyhow::Result<String> {
    let pem = MachineKey::generate_pem()?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .with_context(|| format!("cannot make {}", out.display()))?;
    file.write_all(pem.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", out.display()))?;
    let key = MachineKey::from_pem(kid, pem.as_bytes())?;
    let keys = serde_json::json!({"keys": [key.public_jwk()]});
    Ok(serde_json::to_string_pretty(&keys)? + "\n")
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", file.display());
    if std::fs::metadata(file).with_context(cannot)?.len() > KEY_FILE_BYTES_MAX {
        bail!("{} is too large for a key", file.display());
    }
    std::fs::read(file).with_context(cannot)
}
