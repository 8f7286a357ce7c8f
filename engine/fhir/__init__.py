"""FHIR resources as plain data."""
