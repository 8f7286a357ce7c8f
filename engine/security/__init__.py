"""Keys, TLS, passwords and audit."""
