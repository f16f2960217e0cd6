"""All bare probes: what naive instrumentation of an app, or of a careless third party, does."""

import leak_bare_errors  # noqa: F401 - adds its probes
import leak_bare_traffic  # noqa: F401 - the same
import leak_bare_words  # noqa: F401 - the same
from leak_rows import bare_probe

__all__ = ["bare_probe"]
