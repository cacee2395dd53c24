from typing import Any

from roam_trio import AnyCall, Proceed, Refused

EDITORS = {"ada"}


async def identify(call: AnyCall, proceed: Proceed) -> Any:
    """Find out who calls, from the certificate that TLS has verified."""
    certificate = call.peer.certificate
    if certificate is None:
        raise Refused("denied", "a certificate is needed")
    call.peer.identity = certificate.common_name
    return await proceed()


async def authorise(call: AnyCall, proceed: Proceed) -> Any:
    """Let editors alone load many notes."""
    if call.method.name == "load" and call.peer.identity not in EDITORS:
        raise Refused("denied", "load is for editors")
    return await proceed()
