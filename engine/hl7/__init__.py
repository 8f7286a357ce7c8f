"""HL7 v2 reading and writing: lossless, lazy, tolerant, pure."""
