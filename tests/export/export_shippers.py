"""Makes shippers as the pipeline does, with what a test wants to be different."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turntrace.export.shipper import Shipper
from turntrace.export.spool.place import spool_key
from turntrace.export.spool.spool import Spool
from turntrace.export.transport.http_transport import HttpTransport

if TYPE_CHECKING:
    from pathlib import Path

_OF_THE_TRANSPORT = {
    "headers": {},
    "timeout_seconds": 5.0,
    "compression": "gzip",
}


def make_shipper(
    endpoint: str, root: Path | None = None, spooling: dict[str, Any] | None = None, **settings: Any
) -> Shipper:
    """Return a shipper that spools under ``root``, or in memory without one."""
    ways = {name: settings.pop(name, value) for name, value in _OF_THE_TRANSPORT.items()}
    resource = settings.setdefault("resource", {"service.name": "chat"})
    transport = HttpTransport(endpoint=endpoint, **ways)
    spool = None

    def on_segment() -> None:
        shipper.on_segment()

    if root is not None:
        key = spool_key(root, service="chat", endpoint=endpoint, headers=ways["headers"])
        spool = Spool(
            root=root,
            key=key,
            resource=resource,
            batch_spans=min(
                settings.get("max_batch_size", 512), settings.get("max_queue_size", 2048)
            ),
            on_segment=on_segment,
            **(spooling or {}),
        )
    shipper = Shipper(transport=transport, spool=spool, **settings)
    return shipper
