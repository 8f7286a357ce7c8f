"""The Odoo client, its errors and external ids, and the embedded stand-in."""
