"""The example of a bank, over the transports that prove who a client is."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from .schemes import authority
from .using_examples import example

DAY = """\
stranger: denied: unknown token
Good morning, Bob, over {transport}.
Bob: denied: audit is for clerks
Good morning, Ada, over {transport}.
paid in: 123
coins: [1, 2, 3, 4, 5] 5
  [ledger] an audit, for 0.2 seconds at most
  [ledger] gave the audit up
audit: gave up
desk: closing
desk: takes no new calls
desk: closed
calls at the desk: 7
"""


async def test_a_day_over_a_unix_socket_with_credentials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await example("bank").run(f"unix://{tmp_path}/bank.sock")

    assert capsys.readouterr().out == DAY.format(transport="unix")


def server_context() -> ssl.SSLContext:
    """TLS that asks its clients for certificates."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert("127.0.0.1").configure_cert(context)
    authority().configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(signed_by: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    signed_by.issue_cert("ada@example.org").configure_cert(context)
    return context


async def test_a_day_over_tls_with_certificates_of_clients(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tls = client_context(authority())

    await example("bank").run("tls://127.0.0.1:0", server_context(), tls)

    assert capsys.readouterr().out == DAY.format(transport="tls")
