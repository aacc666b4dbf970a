"""Certificates and keys for the secure listeners, made at run time, and the tokens signed with them."""

import base64
import datetime as dt
import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator.embedded.errors import from_os_error
from orchestrator.embedded.kafka_security import KafkaSecurity, SecurityFiles
from orchestrator.embedded.layout import write_private
from orchestrator.embedded.ports import HOST

KEY_ID = "local"
VALID_DAYS = 365


def make_security_files(folder: Path, security: KafkaSecurity) -> SecurityFiles:
    """Make a CA, its certificates and a token key anew; the CA's own key is never written.

    Raises:
        EmbeddedError: the folder can't be written.
    """
    files = SecurityFiles(folder, security.require_client_certificate)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, "keeping certificates", folder) from error
    ca_key, server_key, client_key, token_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(4))
    ca = _certificate("Embedded Kafka CA", ca_key, issuer="Embedded Kafka CA", signed_with=ca_key, is_ca=True)
    server = _certificate("localhost", server_key, issuer="Embedded Kafka CA", signed_with=ca_key)
    client = _certificate("orchestrator", client_key, issuer="Embedded Kafka CA", signed_with=ca_key)
    write_private(files.ca, _pem(ca))
    write_private(files.server, _key_pem(server_key) + _pem(server) + _pem(ca))
    write_private(files.client, _pem(client))
    write_private(files.client_key, _key_pem(client_key))
    write_private(files.token_key, _key_pem(token_key))
    write_private(files.jwks, json.dumps({"keys": [_jwk(token_key.public_key())]}))
    return files


def sign_token(claims: Mapping[str, object], key_file: Path) -> str:
    """A JWT (ES256) over `claims`, signed with the EC key in `key_file`."""
    key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    header = {"alg": "ES256", "typ": "JWT", "kid": KEY_ID}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: str,
    signed_with: ec.EllipticCurvePrivateKey,
    is_ca: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    own, authority = (x509.SubjectKeyIdentifier.from_public_key(k.public_key()) for k in (key, signed_with))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(_key_usage(is_ca=is_ca), critical=True)
        .add_extension(own, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False
        )
    )
    if not is_ca:
        hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return builder.sign(signed_with, hashes.SHA256())


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def _jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    point = key.public_numbers()
    x, y = (_base64(number.to_bytes(32, "big")) for number in (point.x, point.y))
    return {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID, "x": x, "y": y}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
