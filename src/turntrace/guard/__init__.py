"""What may leave the process: known keys in known types, nothing a user typed."""
