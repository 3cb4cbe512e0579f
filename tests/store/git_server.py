"""Servers of git repositories for the tests: git's own daemon, and the simplest HTTP server with a password."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.conftest import free_port


class Repository:
    """A repository that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *words: str) -> str:
        return git(self.path, *words)

    def commit(self, text: str | bytes = "", name: str = "file.txt") -> str:
        """Writes a file, commits it, and returns the commit."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        self.git("add", "--force", "--", name)
        self.git("commit", "--quiet", "--allow-empty", "--message", name)
        return self.git("rev-parse", "HEAD")


def git(folder: Path, *words: str) -> str:
    """What git prints."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def daemon(folder: Path) -> Iterator[str]:
    """`git daemon`; gives the URL of the folder."""
    port = free_port()
    flags = ["--reuseaddr", "--export-all", "--verbose", "--listen=127.0.0.1", f"--port={port}"]
    program = Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())
    command = [str(program / "git-daemon"), *flags, f"--base-path={folder}", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            assert "Ready to rumble" in process.stderr.readline()
            yield f"git://127.0.0.1:{port}"
        finally:
            process.kill()


class HttpServer:
    """A folder over http or https. What it was asked with, is in `authorizations`."""

    def __init__(self, folder: Path, login: str, certificate: Path | None = None) -> None:
        self.authorizations: list[str | None] = []
        wanted = "Basic " + base64.b64encode(login.encode()).decode()
        seen = self.authorizations

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def do_GET(self) -> None:
                seen.append(self.headers["Authorization"])
                if login and self.headers["Authorization"] != wanted:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="tests"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    super().do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> HttpServer:
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def self_signed(path: Path) -> Path:
    """A certificate of 127.0.0.1 with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def files(folder: Path) -> Iterator[bytes]:
    """The contents of every file below a folder."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if (path := Path(parent, name)).is_file():
                yield path.read_bytes()
