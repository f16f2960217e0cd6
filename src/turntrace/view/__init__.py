"""`turntrace view`: an OTLP receiver, the store behind it, and what it answers."""
