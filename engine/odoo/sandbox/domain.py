"""Odoo search domains as SQL conditions over the row `t`.

Guarantees: prefix notation with `&`, `|`, `!`; the operators of Odoo 16 to 19 on stored, computed and
relational fields, dotted paths, `False` as "not set"; values are always parameters. Refuses: unknown fields
and operators, with the error text of the version.
"""

from __future__ import annotations

from typing import Any

from engine.odoo.sandbox.faults import Crash
from engine.odoo.sandbox.schema import MANY, Field, Model

ALWAYS, NEVER = "1", "0"
_COMPARE = ("=", "!=", "<>", "<", ">", "<=", ">=", "==")
_LIKE = ("like", "ilike", "not like", "not ilike", "=like", "=ilike", "not =like", "not =ilike")
_TREE = ("child_of", "parent_of")
_ANY = ("any", "not any")
_NEGATIVE = {"!=": "=", "<>": "=", "not in": "in", "not like": "like", "not ilike": "ilike", "not any": "any"}
_OPERATORS = {*_COMPARE, *_LIKE, *_TREE, *_ANY, "in", "not in", "=?"}


class Compiler:
    """Compiles domains for one version; `values` collects the parameters in order."""

    def __init__(self, models: dict[str, Model], major: int) -> None:
        self.models = models
        self.major = major
        self.values: list[Any] = []

    def where(self, model: Model, domain: Any, active_test: bool) -> str:
        """The condition for a domain; archived records are left out unless it asks for them."""
        if not isinstance(domain, (list, tuple)):
            raise self._no_domain(domain)
        condition = self._tree(model, list(domain))
        asked = any(isinstance(term, (list, tuple)) and term and term[0] == "active" for term in domain)
        if active_test and model.archivable and not asked:
            return f"({condition}) AND t.active = 1"
        return condition

    def _no_domain(self, domain: Any) -> Crash:
        if self.major >= 19:
            return Crash("builtins.TypeError", f"Domain() invalid argument type for domain: {domain!r}")
        return Crash(
            "builtins.AssertionError",
            "Domains to normalize must have a 'domain' form: a list or tuple of domain components",
        )

    def _tree(self, model: Model, domain: list[Any]) -> str:
        if not domain:
            return ALWAYS
        terms: list[Any] = []
        place = 0

        def term() -> str:
            nonlocal place
            if place >= len(domain):
                raise Crash("builtins.ValueError", f"Domain {domain!r} is missing a term")
            item = domain[place]
            place += 1
            if item == "!":
                return f"NOT ({term()})"
            if item in ("&", "|"):
                left = term()
                return f"({left}) {'AND' if item == '&' else 'OR'} ({term()})"
            return self._leaf(model, item)

        while place < len(domain):
            terms.append(f"({term()})")
        return " AND ".join(terms)

    def _leaf(self, model: Model, leaf: Any) -> str:
        if not isinstance(leaf, (list, tuple)) or len(leaf) != 3:
            if isinstance(leaf, bool):
                return ALWAYS if leaf else NEVER
            raise Crash("builtins.ValueError", f"Invalid leaf {leaf!r}")
        path, operator, value = leaf
        operator = str(operator).lower()
        if (path, operator, value) in ((1, "=", 1), (0, "=", 1)):
            return ALWAYS if path else NEVER
        condition = repr((path, operator, value))
        if operator not in _OPERATORS:
            text = "Invalid operator in condition" if self.major >= 19 else "Invalid leaf"
            raise Crash("builtins.ValueError", f"{text} {condition}")
        name, _, rest = str(path).partition(".")
        field = model.fields.get(name)
        if field is None:
            kind = "condition" if self.major >= 19 else "leaf"
            raise Crash("builtins.ValueError", f"Invalid field {model.name}.{name} in {kind} {condition}")
        if rest:
            return self._through(model, field, [(rest, operator, value)])
        if operator in _NEGATIVE and operator not in _COMPARE and not isinstance(value, bool):
            return f"NOT ({self._positive(model, field, _NEGATIVE[operator], value)})"
        if operator in ("!=", "<>"):
            return f"NOT ({self._positive(model, field, '=', value)})"
        return self._positive(model, field, operator, value)

    def _positive(self, model: Model, field: Field, operator: str, value: Any) -> str:
        if operator == "=?":
            return ALWAYS if value in (False, None) else self._positive(model, field, "=", value)
        if operator == "any":
            return self._through(model, field, value)
        if operator in _TREE:
            return self._family(model, field, operator, value)
        if field.relation:
            return self._relational(model, field, operator, value)
        return self._scalar(field, operator, value)

    def _scalar(self, field: Field, operator: str, value: Any) -> str:
        found = field.expression
        if operator in ("=", "==", "in"):
            items = list(value) if isinstance(value, (list, tuple)) else [value]
            empty = any(item is False or item is None for item in items)
            if field.type == "boolean":
                wanted = {bool(item) for item in items}
                choices = [f"{found} = 1"] * (True in wanted) + [f"{found} IS NOT 1"] * (False in wanted)
                return " OR ".join(choices) or NEVER
            kept = [item for item in items if item is not False and item is not None]
            parts = []
            if kept:
                self.values += [_plain(item) for item in kept]
                parts.append(f"COALESCE({found} IN ({','.join('?' * len(kept))}), 0)")
            if empty:
                blank = {"integer": "0", "float": "0"}.get(field.type, "''")
                parts.append(f"({found} IS NULL OR {found} = {blank})")
            return " OR ".join(parts) or NEVER
        if "like" in operator:
            fold = "ilike" in operator
            exact = "=" in operator
            pattern = str(value if value is not False else "")
            self.values.append(_fold(pattern, fold) if exact else f"%{_fold(pattern, fold)}%")
            inner = f"fold({found})" if fold else f"CAST({found} AS TEXT)"
            if not exact and not pattern:
                return f"COALESCE({inner}, '') LIKE ? ESCAPE '\\'"
            return f"COALESCE({inner} LIKE ? ESCAPE '\\', 0)"
        self.values.append(_plain(value))
        return f"COALESCE({found} {operator} ?, 0)"

    def _relational(self, model: Model, field: Field, operator: str, value: Any) -> str:
        if isinstance(value, str) or "like" in operator:
            target = self.models[field.relation]
            names = [target.fields[name] for name in target.rec_name]
            return self._inside(
                model, field, lambda: " OR ".join(self._scalar(name, operator, value) for name in names)
            )
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        ids = [item for item in items if item is not False and item is not None]
        if any(isinstance(item, str) for item in ids):
            return " OR ".join(self._relational(model, field, "=", item) for item in ids)
        parts = []
        if ids:

            def condition() -> str:
                self.values.extend(ids)
                return f"t.id IN ({','.join('?' * len(ids))})"

            if field.type == "many2one":
                self.values += ids
                parts.append(f"COALESCE({field.expression} IN ({','.join('?' * len(ids))}), 0)")
            else:
                parts.append(self._inside(model, field, condition))
        if len(ids) < len(items):
            parts.append(f"NOT ({self._inside(model, field, lambda: ALWAYS)})")
        return " OR ".join(parts) or NEVER

    def _through(self, model: Model, field: Field, domain: Any) -> str:
        if not field.relation:
            if field.type in ("date", "datetime"):
                raise Crash("builtins.ValueError", f"Invalid field path on {field.name}")
            raise Crash("builtins.ValueError", f"Cannot convert {model.name}.{field.name} to SQL")
        target = self.models[field.relation]
        active = field.type in MANY and target.archivable
        return self._inside(
            model, field, lambda: self.where(target, domain, active_test=active) if domain else ALWAYS
        )

    def _inside(self, model: Model, field: Field, condition: Any) -> str:
        """Records of which the related ones (as row `t` of the inner query) fulfil a condition."""
        target = self.models[field.relation]
        if field.type == "many2one":
            return (
                f"COALESCE({field.expression} IN (SELECT t.id FROM {target.table} t WHERE {condition()}), 0)"
            )
        if field.type == "one2many":
            return f't.id IN (SELECT t."{field.inverse}" FROM {target.table} t WHERE {condition()})'
        table = model.relation_table(field.name)
        return f"t.id IN (SELECT r.a FROM {table} r JOIN {target.table} t ON t.id = r.b WHERE {condition()})"

    def _family(self, model: Model, field: Field, operator: str, value: Any) -> str:
        target = model if field.name == "id" else self.models[field.relation]
        ids = list(value) if isinstance(value, (list, tuple)) else [value]
        self.values += ids
        step = "c.parent_id = family.id" if operator == "child_of" else "c.id = family.parent_id"
        tree = (
            f"WITH RECURSIVE family(id, parent_id) AS (SELECT id, parent_id FROM {target.table} "
            f"WHERE id IN ({','.join('?' * len(ids))}) UNION "
            f"SELECT c.id, c.parent_id FROM {target.table} c JOIN family ON {step}) SELECT id FROM family"
        )
        if field.name == "id" or field.type == "many2one":
            return f"COALESCE({field.expression} IN ({tree}), 0)"
        return f"t.id IN (SELECT a FROM {model.relation_table(field.name)} WHERE b IN ({tree}))"


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) else str(value)


def _fold(text: str, fold: bool) -> str:
    return text.casefold() if fold else text
