"""An OAuth 2.0 token endpoint on 127.0.0.1: client credentials in, the broker's kind of token out."""

import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs

import orjson

from orchestrator import embedded


class TokenEndpoint:
    """`status` other than 200 refuses; `lifetime_s` is the tokens' life; `asked` holds the forms of all requests.

    `spoiled` tokens are given out like others, and refused by the broker.
    """

    def __init__(self, secure: embedded.SecureListeners, client_id: str, secret: str) -> None:
        self.status = 200
        self.lifetime_s = 3600.0
        self.spoiled = False
        self.asked: list[dict[str, list[str]]] = []
        self.given: list[str] = []
        self._secure = secure
        self._authorization = "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/oauth2/token"

    def answer(self, authorization: str | None, form: bytes) -> tuple[int, bytes]:
        """Status and body of one request."""
        self.asked.append(parse_qs(form.decode()))
        if authorization != self._authorization:
            return 401, orjson.dumps({"error": "invalid_client", "error_description": f"not {authorization}"})
        if self.status != 200:
            return self.status, orjson.dumps({"error": "temporarily_unavailable"})
        token = self._secure.oauth_token(lifetime_s=-7200 if self.spoiled else self.lifetime_s)
        self.given.append(token)
        body = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime_s}
        return 200, orjson.dumps(body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers.get("content-length", "0")))
                status, body = endpoint.answer(self.headers.get("authorization"), form)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
