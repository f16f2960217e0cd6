"""One OTLP/HTTP request at a time: the way to the collector, and what its answer means."""
