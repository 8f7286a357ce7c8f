"""Where messages go: one file a destination."""
