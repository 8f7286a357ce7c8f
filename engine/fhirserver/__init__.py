"""FHIR servers: how to reach one, and what may be asked of it."""
