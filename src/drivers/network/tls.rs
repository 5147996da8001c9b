//! TLS 1.3 with libp2p certificates on ring: the certificate proves the Ed25519 identity of a peer.
//!
//! Not a public-key infrastructure: there are no names and no authorities, a certificate is signed by itself and
//! carries a signature of the identity key over its own public key
//! (<https://github.com/libp2p/specs/blob/master/tls/tls.md>). Who may connect is decided elsewhere.
//! Next: `endpoint.rs` wraps these configurations in QUIC.

use super::{certificate, config::NetworkError};
use libp2p::identity::Keypair;
use rustls::{
    CipherSuite, DigitallySignedStruct, DistinguishedName, NamedGroup, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::sync::Arc;

/// Negotiated by two Pangea nodes: unidirectional streams and datagrams may be used.
pub const ALPN_PANGEA: &[u8] = b"pangea/1";
/// Negotiated with stock libp2p peers: bidirectional streams only.
pub const ALPN_LIBP2P: &[u8] = b"libp2p";

/// Client and server configuration for one identity, offering `alpn` in this order.
///
/// # Errors
/// The certificate could not be made: the identity key is unusable.
pub fn configs(
    identity: &Keypair,
    alpn: &[&[u8]],
) -> Result<(rustls::ClientConfig, rustls::ServerConfig), NetworkError> {
    let provider = Arc::new(provider());
    let verifier = Arc::new(Libp2pVerifier { algorithms: provider.signature_verification_algorithms });
    let (certificate, key) = certificate::generate(identity).map_err(NetworkError::identity)?;
    let key = provider.key_provider.load_private_key(key).map_err(NetworkError::identity)?;
    // A resolver, because rustls' own builders parse the certificate and refuse libp2p's critical extension.
    let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key)));
    let versions = &[&rustls::version::TLS13];

    let mut client = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(NetworkError::identity)?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_cert_resolver(resolver.clone());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(NetworkError::identity)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    client.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    server.alpn_protocols = client.alpn_protocols.clone();
    Ok((client, server))
}

/// The identity behind the certificate of an established connection.
pub fn peer_of(connection: &quinn::Connection) -> Option<libp2p::PeerId> {
    let chain: Box<Vec<CertificateDer<'static>>> = connection.peer_identity()?.downcast().ok()?;
    // The handshake has verified it.
    Some(certificate::reread(chain.first()?).ok()?.peer())
}

/// Whether an established connection negotiated `pangea/1`.
pub fn speaks_pangea(connection: &quinn::Connection) -> bool {
    let data =
        connection.handshake_data().and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
    data.and_then(|data| data.protocol).as_deref() == Some(ALPN_PANGEA)
}

/// ring, TLS 1.3 suites only, AES-128-GCM first: ChaCha20 costs 45% more CPU where AES is in hardware, and a peer
/// without such hardware may still choose it, because the server honours the order of the client.
fn provider() -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.version() == &rustls::version::TLS13);
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider.kx_groups.sort_by_key(|group| group.name() != NamedGroup::X25519);
    provider
}

/// Accepts exactly one libp2p certificate whose identity signature holds; the swarm compares the peer id.
#[derive(Debug)]
struct Libp2pVerifier {
    /// All that ring verifies, as the libp2p TLS specification wants.
    algorithms: WebPkiSupportedAlgorithms,
}

impl Libp2pVerifier {
    fn check(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        if !intermediates.is_empty() {
            return Err(rustls::Error::General("a libp2p peer presents exactly one certificate".to_owned()));
        }
        certificate::parse(end_entity)?;
        Ok(())
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // rustls has had it checked before, see `check`.
        certificate::reread(certificate)?.verify_handshake(message, signed, &self.algorithms)
    }

    fn tls12() -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls13RequiredForQuic))
    }
}

impl ServerCertVerifier for Libp2pVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Libp2pVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Self::check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Self::tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
