"""Encrypted and authenticated listeners: what the broker and what a client needs for them."""

import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

SCRAM_USER = "orchestrator"
AUDIENCE = "orchestrator-kafka"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """Asks for two listeners more: SSL, and SASL_SSL with SCRAM-SHA-512 and OAUTHBEARER.

    `require_client_certificate` makes the SSL listener refuse clients without a certificate of the local CA.
    """

    require_client_certificate: bool = False


@dataclass(frozen=True, slots=True)
class SecureListeners:
    """What a client needs for the encrypted listeners; every file is PEM and readable by its owner alone."""

    ssl_bootstrap: str
    sasl_bootstrap: str
    ca_file: Path
    client_certificate_file: Path
    client_key_file: Path
    scram_user: str
    scram_password: str = field(repr=False)
    token_key_file: Path

    def ssl_context(self, *, with_client_certificate: bool = False) -> ssl.SSLContext:
        """A context that trusts the local CA alone; with the client's own certificate if asked."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        if with_client_certificate:
            context.load_cert_chain(self.client_certificate_file, self.client_key_file)
        return context

    def oauth_token(self, subject: str = SCRAM_USER, *, lifetime_s: float = 3600.0) -> str:
        """A signed token (JWT, ES256) that the OAUTHBEARER mechanism accepts for `lifetime_s` seconds."""
        from orchestrator.embedded.certificates import sign_token  # noqa: PLC0415 - cryptography takes 0.1 s to import

        now_s = time.time()
        claims = {
            "sub": subject,
            "aud": AUDIENCE,
            "iat": int(now_s),
            "exp": int(now_s + lifetime_s),
            "scope": "kafka",
        }
        return sign_token(claims, self.token_key_file)


@dataclass(frozen=True, slots=True)
class SecurityFiles:
    """The files behind the secure listeners of one data folder."""

    folder: Path
    require_client_certificate: bool

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def server(self) -> Path:
        return self.folder / "server.pem"

    @property
    def client(self) -> Path:
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        return self.folder / "client-key.pem"

    @property
    def token_key(self) -> Path:
        return self.folder / "token-key.pem"

    @property
    def jwks(self) -> Path:
        return self.folder / "jwks.json"

    def broker_settings(self) -> tuple[tuple[str, object], ...]:
        sasl = "listener.name.sasl_ssl"
        oauth = f"{sasl}.oauthbearer"
        package = "org.apache.kafka.common.security"
        return (
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", self.server),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", self.ca),
            (
                "listener.name.ssl.ssl.client.auth",
                "required" if self.require_client_certificate else "requested",
            ),
            ("sasl.enabled.mechanisms", "SCRAM-SHA-512,OAUTHBEARER"),
            (f"{sasl}.scram-sha-512.sasl.jaas.config", f"{package}.scram.ScramLoginModule required;"),
            (f"{oauth}.sasl.jaas.config", f"{package}.oauthbearer.OAuthBearerLoginModule required;"),
            (
                f"{oauth}.sasl.server.callback.handler.class",
                f"{package}.oauthbearer.OAuthBearerValidatorCallbackHandler",
            ),
            (f"{oauth}.sasl.oauthbearer.jwks.endpoint.url", self.jwks.as_uri()),
            (f"{oauth}.sasl.oauthbearer.expected.audience", AUDIENCE),
        )

    def jvm_options(self) -> tuple[str, ...]:
        return (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.jwks.as_uri()}",)
