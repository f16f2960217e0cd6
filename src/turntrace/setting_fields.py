"""How a setting is declared: once, with its variable, its kind and what it means."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turntrace.setting_kinds import Kind


def setting(
    default: Any,
    env: str,
    kind: Kind,
    doc: str,
    *,
    is_secret: bool = False,
    in_repr: bool = True,
    instead: str = "no value",
) -> Any:
    """Return a field of `turntrace.settings.Settings` with what is to be known of it.

    ``instead`` is what a warning says is used where the value is empty.
    """
    facts = {
        "env": env.split(),
        "kind": kind,
        "doc": doc,
        "is_secret": is_secret,
        "instead": instead,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=facts, repr=in_repr)
    return dataclasses.field(default=default, metadata=facts, repr=in_repr)
