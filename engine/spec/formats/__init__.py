"""The formats of messages: one file declares one. `format: fhir`, or `format: {delimited: {delimiter: \";\"}}`."""
