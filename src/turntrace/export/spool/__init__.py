"""Keeps finished spans on disk until a collector has acknowledged them."""
