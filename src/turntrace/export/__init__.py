"""Encodes finished spans as OTLP, and sends them until they are acknowledged."""
