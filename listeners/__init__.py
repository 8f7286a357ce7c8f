"""Where messages come in: one file a listener."""
