"""What channels stand on: the model, HL7 and FHIR reading, the store, the Odoo client, the command line."""
