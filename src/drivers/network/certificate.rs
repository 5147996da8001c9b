//! The libp2p TLS certificate: a self-signed X.509 certificate whose extension carries the peer's key.
//!
//! Protocol: <https://github.com/libp2p/specs/blob/master/tls/tls.md>. The `libp2p-tls` crate does the same, but it
//! insists on aws-lc-rs, whose randomness a simulation cannot fix; this module needs ring only. The certificate's own
//! key is made for each endpoint; the extension proves that the peer's key vouches for it.

use libp2p::identity::{Keypair, PeerId, PublicKey};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{
    CertificateError, DigitallySignedStruct, Error,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer},
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Object identifier of the libp2p extension.
const EXTENSION_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 53594, 1, 1];
/// What the peer's key signs: this, then the certificate's public key.
const SIGNED_PREFIX: &[u8] = b"libp2p-tls-handshake:";

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateMakeError {
    /// Key or certificate.
    #[error("cannot make a TLS certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The identity cannot sign.
    #[error("cannot sign the TLS certificate: {0}")]
    Sign(#[from] libp2p::identity::SigningError),
}

/// A certificate that was parsed and whose extension and self-signature were verified, now or before.
pub struct Verified<'a> {
    certificate: X509Certificate<'a>,
    key: PublicKey,
}

/// Makes a certificate for `identity`, and its private key.
///
/// # Errors
/// See [`CertificateMakeError`].
pub fn generate(identity: &Keypair) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), CertificateMakeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let public = rcgen::PublicKeyData::subject_public_key_info(&key);
    let signature = identity.sign(&[SIGNED_PREFIX, &public].concat())?;
    let content = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_bytes(&identity.public().encode_protobuf());
            writer.next().write_bytes(&signature);
        });
    });
    let mut extension = CustomExtension::from_oid_content(&EXTENSION_OID, content);
    extension.set_criticality(true);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions.push(extension);
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((certificate.der().clone(), private))
}

/// Reads a peer's certificate and checks all that the protocol asks for.
///
/// # Errors
/// rustls errors, so that the handshake ends with the right alert.
pub fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<Verified<'a>, Error> {
    let (read, signature) = parts(der)?;
    let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
    let message = [SIGNED_PREFIX, read.certificate.public_key().raw].concat();
    if !read.key.verify(&message, &signature) {
        return Err(bad());
    }
    read.certificate.verify_signature(None).map_err(|_| bad())?;
    Ok(read)
}

/// Reads a certificate that [`parse`] has accepted in the same handshake: its signatures are not verified again, which
/// would cost as much as the rest of the handshake.
///
/// # Errors
/// As [`parse`], except for signatures.
pub fn reread<'a>(der: &'a CertificateDer<'_>) -> Result<Verified<'a>, Error> {
    parts(der).map(|(read, _)| read)
}

/// A certificate and the signature of the peer's key in it.
fn parts<'a>(der: &'a CertificateDer<'_>) -> Result<(Verified<'a>, Vec<u8>), Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let (rest, certificate) = X509Certificate::from_der(der.as_ref()).map_err(|_| bad())?;
    if !rest.is_empty() {
        return Err(bad());
    }
    if !certificate.validity().is_valid() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    let mut extension = None;
    for candidate in certificate.extensions() {
        let ours = candidate.oid.iter().is_some_and(|oid| oid.eq(EXTENSION_OID));
        match (ours, candidate.critical) {
            (true, _) if extension.is_none() => extension = Some(candidate.value),
            (true, _) => return Err(bad()),
            (false, true) => return Err(Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension)),
            (false, false) => {}
        }
    }
    let (key, signature) = yasna::parse_der(extension.ok_or_else(bad)?, |reader| {
        reader.read_sequence(|reader| Ok((reader.next().read_bytes()?, reader.next().read_bytes()?)))
    })
    .map_err(|_| bad())?;
    let key =
        PublicKey::try_decode_protobuf(&key).map_err(|_| Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
    Ok((Verified { certificate, key }, signature))
}

impl Verified<'_> {
    /// Whose certificate it is.
    pub fn peer(&self) -> PeerId {
        self.key.to_peer_id()
    }

    /// Checks the TLS 1.3 handshake signature against the certificate's key.
    ///
    /// # Errors
    /// rustls errors.
    pub fn verify_handshake(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(self.certificate.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_the_peer_that_made_it() {
        let identity = Keypair::generate_ed25519();
        let (certificate, _) = generate(&identity).unwrap();
        assert_eq!(parse(&certificate).unwrap().peer(), identity.public().to_peer_id());
    }

    #[test]
    fn a_changed_byte_anywhere_is_never_accepted_as_another_peer() {
        let identity = Keypair::generate_ed25519();
        let (certificate, _) = generate(&identity).unwrap();
        let peer = identity.public().to_peer_id();
        for at in 0..certificate.as_ref().len() {
            let mut bytes = certificate.as_ref().to_vec();
            bytes[at] ^= 1;
            if let Ok(parsed) = parse(&CertificateDer::from(bytes)) {
                assert_eq!(parsed.peer(), peer, "byte {at}");
            }
        }
    }

    #[test]
    fn truncated_and_random_bytes_are_refused() {
        let (certificate, _) = generate(&Keypair::generate_ed25519()).unwrap();
        for length in 0..certificate.as_ref().len() {
            assert!(parse(&CertificateDer::from(certificate.as_ref()[..length].to_vec())).is_err());
        }
    }
}
