"""Message formats besides HL7v2 and FHIR: JSON, XML and delimited text, and what every format has in common."""
