"""The renovation-planning chat assistant that turntrace is proved on."""
