"""Builds the last stage from the settings: the spool if there can be one, and the shipper."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from turntrace.errors import SpoolError
from turntrace.export.shipper import Shipper
from turntrace.export.spool.orphans import directories
from turntrace.export.spool.place import spool_key
from turntrace.export.spool.spool import Spool
from turntrace.export.transport.http_transport import HttpTransport
from turntrace.export.transport.proxies import Proxies
from turntrace.export.transport.tls import Certificates
from turntrace.own_version import own_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turntrace.record.span_record import AttributeValue
    from turntrace.settings import Settings

_LOG: Final = logging.getLogger("turntrace")


def build_shipper(
    settings: Settings, resource: Mapping[str, AttributeValue], adopt_seconds: float = 10.0
) -> Shipper:
    """Build the last stage: a spool if there can be one, the way to the collector, the shipper.

    Args:
        settings: Where to spool, and where to send.
        resource: What all spans have in common; must have passed the guard.
        adopt_seconds: How often to look for what dead processes have left.

    Raises:
        ConfigurationError: The endpoint, a header or a certificate cannot be used.
    """
    transport = HttpTransport(
        endpoint=settings.traces_url,
        headers=settings.headers,
        timeout_seconds=settings.timeout_seconds,
        compression=settings.compression,
        certificates=Certificates(
            certificate_file=settings.certificate_file,
            client_certificate_file=settings.client_certificate_file,
            client_key_file=settings.client_key_file,
        ),
        proxies=Proxies(
            http=settings.http_proxy or settings.all_proxy,
            https=settings.https_proxy or settings.all_proxy,
            exempt=settings.no_proxy,
        ),
    )

    def on_segment() -> None:
        shipper.on_segment()

    spool, has_orphans = _open_spool(settings, resource, on_segment)
    is_sent_by_another = settings.shipper == "process" and spool is not None
    shipper = Shipper(
        transport=None if is_sent_by_another else transport,
        resource=resource,
        spool=spool,
        max_queue_size=settings.max_queue_size,
        max_batch_size=settings.max_batch_size,
        schedule_delay_seconds=settings.schedule_delay_seconds,
        adopt_seconds=adopt_seconds,
    )
    if has_orphans and not is_sent_by_another:
        shipper.start()  # what a dead process left does not wait for our first span
    return shipper


def _open_spool(
    settings: Settings, resource: Mapping[str, AttributeValue], on_segment: Callable[[], None]
) -> tuple[Spool | None, bool]:
    """Open the spool of this service and account, or say why spans are in memory only.

    Returns it, and whether others have been there before, and may have left something.
    """
    root = settings.spool_root
    if root is None:
        if not settings.spool_dir:
            _LOG.warning(
                "turntrace: TURNTRACE_SPOOL_DIR=%r is no place for the spool, and there is no home"
                " directory (name a directory on a local disk); using memory only",
                settings.spool_dir,
            )
        return None, False
    try:
        key = spool_key(
            root,
            service=settings.service_name,
            endpoint=settings.traces_url,
            headers=settings.headers,
        )
        has_orphans = bool(directories(root / key))
        spool = Spool(
            root=root,
            key=key,
            resource=resource,
            writer=f"turntrace {own_version()}",
            max_disk_bytes=settings.spool_max_bytes,
            batch_spans=settings.max_batch_size,
            on_segment=on_segment,
        )
    except SpoolError as error:
        _LOG.warning("turntrace: %s", error)
        return None, False
    return spool, has_orphans
