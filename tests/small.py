"""The smallest channel that does something of everything: a filter, a code table, and partners in the sandbox."""

from __future__ import annotations

CONFIG = """
connections:
  clinic: {{odoo: {{url: "sandbox:"}}}}
tables:
  sex: {{values: {sexes}}}
channels:
  adt:
    listener: {{mllp: {{port: 0}}}}
    filters: {filters}
    transformers:
      - code_table: {{path: PID-8, table: sex}}
    destinations:
      odoo:
        odoo:
          connection: clinic
          operations:
            - upsert: res.partner
              key: "patient/{key}"
              values: {values}
"""


def small(
    values: str,
    *,
    key: str = "{{ msg['PID-3.1'] }}",
    filters: str = "[]",
    sexes: str = "{F: female, M: male}, otherwise: error",
) -> str:
    """The configuration of the channel `adt` that writes `values`; each part is YAML in one line or in deeper lines."""
    return CONFIG.format(values=values, key=key, filters=filters, sexes=sexes)
