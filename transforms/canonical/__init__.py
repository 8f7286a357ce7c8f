"""What a message means, whatever format it came in: canonical entities, events and their adapters."""
