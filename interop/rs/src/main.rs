//! The sigstore-rs client of the matrix: signs with an instance of one's own, and verifies
//! by its trust config.
//!
//! ```text
//! sigstorers sign URL TOKEN FILE BUNDLE
//! sigstorers verify CLIENT_TRUST_CONFIG FILE BUNDLE IDENTITY ISSUER
//! ```
//!
//! The library's `SigningContext` is for Sigstore's own instances alone: `SigningContext::new`
//! wants a `Keyring`, whose module is private. So the steps of its `SigningSession` are
//! taken here one by one, each by the library's own code.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use openidconnect::Nonce;
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier};
use p256::elliptic_curve::Generate;
use p256::pkcs8::EncodePrivateKey;
use sha2::{Digest, Sha256};
use sigstore::bundle::Bundle;
use sigstore::bundle::verify::{Verifier, policy};
use sigstore::crypto::SigningScheme;
use sigstore::crypto::signing_key::SigStoreSigner;
use sigstore::crypto::signing_key::ecdsa::ECDSAKeys;
use sigstore::fulcio::{FulcioClient, TokenProvider};
use sigstore::oauth::IdentityToken;
use sigstore::rekor::apis::configuration::Configuration;
use sigstore::rekor::apis::entries_api::create_log_entry;
use sigstore::rekor::models::{ProposedEntry, hashedrekord};
use sigstore::trust::sigstore::SigstoreTrustRoot;
use sigstore_protobuf_specs::dev::sigstore::bundle::v1::{
    VerificationMaterial, bundle, verification_material,
};
use sigstore_protobuf_specs::dev::sigstore::common::v1::{
    HashAlgorithm, HashOutput, MessageSignature, X509Certificate, X509CertificateChain,
};
use sigstore_protobuf_specs::dev::sigstore::rekor::v1::TransparencyLogEntry;
use url::Url;
use x509_cert::Certificate;
use x509_cert::builder::{Builder, RequestBuilder};
use x509_cert::der::{Encode, EncodePem, pem::LineEnding};
use x509_cert::name::Name;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["sign", url, token, file, out] => sign(url, token, file, out).await,
        ["verify", trust, file, bundle, identity, issuer] => {
            verify(trust, file, bundle, &policy::Identity::new(identity, issuer)).await
        }
        _ => Err("usage: sigstorers sign URL TOKEN FILE BUNDLE | verify CLIENT_TRUST_CONFIG FILE BUNDLE IDENTITY ISSUER".into()),
    }
}

async fn sign(url: &str, token: &str, file: &str, out: &str) -> Result<()> {
    let artifact = fs::read(file)?;
    // An IdentityToken must have an email address, and is for version 2 of Fulcio's API.
    let (signer, certificate) = match IdentityToken::try_from(token) {
        Ok(identity) => certify(url, token, &identity).await?,
        Err(_) => certify_subject(url, token).await?,
    };
    let signature = signer.sign(&artifact)?;
    let digest = Sha256::digest(&artifact).to_vec();
    let entry = record(url, &digest, &signature, &certificate).await?;
    let bundle = assemble(digest, signature, certificate.to_der()?, entry);
    Ok(fs::write(out, serde_json::to_string(&bundle)?)?)
}

/// Asks for a certificate by Fulcio's API of version 2, with a certificate request.
async fn certify(
    url: &str,
    token: &str,
    identity: &IdentityToken,
) -> Result<(SigStoreSigner, Certificate)> {
    let key = p256::ecdsa::SigningKey::generate();
    let email = &identity.unverified_claims().email;
    let request = RequestBuilder::new(Name::from_str(&format!("emailAddress={email}"))?)?
        .build::<_, p256::ecdsa::DerSignature>(&key)?;
    let answer = fulcio(url, token, email)?
        .request_cert_v2(request, identity)
        .await?;
    let signer = ECDSAKeys::from_der(key.to_pkcs8_der()?.as_bytes())?.to_sigstore_signer()?;
    Ok((signer, answer.cert))
}

/// Asks for a certificate by Fulcio's API of version 1, where the subject is what proves
/// possession of the key.
async fn certify_subject(url: &str, token: &str) -> Result<(SigStoreSigner, Certificate)> {
    let subject = subject_of(token)?;
    let (signer, chain) = fulcio(url, token, &subject)?
        .request_cert(SigningScheme::ECDSA_P256_SHA256_ASN1)
        .await?;
    let certificate = Certificate::load_pem_chain(chain.as_ref())?
        .into_iter()
        .next()
        .ok_or_else(|| format!("no certificate: {chain}"))?;
    Ok((signer, certificate))
}

fn fulcio(url: &str, token: &str, proof: &str) -> Result<FulcioClient> {
    let provider = TokenProvider::Static((CoreIdToken::from_str(token)?, proof.to_owned()));
    Ok(FulcioClient::new(Url::parse(url)?, provider))
}

/// Gives a token's subject. Whether the token is any good is for the authority to judge.
fn subject_of(token: &str) -> Result<String> {
    let unchecked = CoreIdTokenVerifier::new_insecure_without_verification();
    let token = CoreIdToken::from_str(token)?;
    let claims = token.claims(&unchecked, |_: Option<&Nonce>| Ok(()))?;
    Ok(claims.subject().to_string())
}

/// Records a signature in the log of Rekor v1; the library knows no other.
async fn record(
    url: &str,
    digest: &[u8],
    signature: &[u8],
    certificate: &Certificate,
) -> Result<TransparencyLogEntry> {
    let log = Configuration {
        base_path: url.to_owned(),
        ..Default::default()
    };
    let key = certificate.to_pem(LineEnding::LF)?;
    let proposed = ProposedEntry::Hashedrekord {
        api_version: "0.0.1".to_owned(),
        spec: hashedrekord::Spec::new(
            hashedrekord::Signature::new(
                BASE64.encode(signature),
                hashedrekord::PublicKey::new(BASE64.encode(key)),
            ),
            hashedrekord::Data::new(hashedrekord::Hash::new(
                hashedrekord::AlgorithmKind::sha256,
                hex::encode(digest),
            )),
        ),
    };
    let entry = create_log_entry(&log, proposed).await?;
    entry
        .try_into()
        .map_err(|()| "the log's entry cannot stand in a bundle".into())
}

fn assemble(
    digest: Vec<u8>,
    signature: Vec<u8>,
    certificate: Vec<u8>,
    entry: TransparencyLogEntry,
) -> Bundle {
    let chain = X509CertificateChain {
        certificates: vec![X509Certificate {
            raw_bytes: certificate,
        }],
    };
    Bundle {
        media_type: "application/vnd.dev.sigstore.bundle+json;version=0.2".to_owned(),
        verification_material: Some(VerificationMaterial {
            timestamp_verification_data: None,
            tlog_entries: vec![entry],
            content: Some(verification_material::Content::X509CertificateChain(chain)),
        }),
        content: Some(bundle::Content::MessageSignature(MessageSignature {
            message_digest: Some(HashOutput {
                algorithm: HashAlgorithm::Sha2256.into(),
                digest,
            }),
            signature,
        })),
    }
}

async fn verify(trust: &str, file: &str, bundle: &str, who: &policy::Identity) -> Result<()> {
    let trusted = SigstoreTrustRoot::from_client_trust_config(&PathBuf::from(trust))?;
    let verifier = Verifier::new(Configuration::default(), trusted)?;
    let bundle: Bundle = serde_json::from_slice(&fs::read(bundle)?)?;
    let artifact = tokio::fs::File::open(file).await?;
    Ok(verifier.verify(artifact, bundle, who, true).await?)
}
