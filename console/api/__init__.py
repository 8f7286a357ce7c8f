"""The REST API under /api/v1: everything that the console does, for programs."""
