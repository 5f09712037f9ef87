//! What TLS is done with, for all that speaks HTTPS: downloads and webhooks.

use std::sync::OnceLock;

/// Chooses it, once for the whole program. To be called before a client is made.
pub(crate) fn choose_cryptography() {
    static CHOSEN: OnceLock<()> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        // Fails only if there is one already, which serves as well.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}
