"""`connections: {wards: {sql: {url: "sqlite:///wards.db"}}}`: a database that `lookup` steps read.

Guarantees: values are bound as parameters; nothing is written (SQLite is opened read-only, a PostgreSQL transaction
is READ ONLY); queries run in a thread, never on the reactor's; the password is never shown.
Refuses: URLs of other databases, PostgreSQL without psycopg (ConfigError).
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThreadPool

from engine.errors import ConfigError, IsthmusError
from engine.spec.lookups import Fetch, Key, LookupDown
from engine.spec.units import Duration


class SqlConnection(BaseModel):
    """A SQLite file or a PostgreSQL database."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    lookups: ClassVar[str] = "sql"

    url: SecretStr = Field(
        description="`sqlite:///wards.db` (an absolute path has a fourth slash), or `postgresql://user:password@host/db`.",
        examples=["sqlite:///wards.db"],
    )
    timeout: Duration = Field(default=10, gt=0, description="Time to wait for a connection or a lock.")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: SecretStr) -> SecretStr:
        if not re.match(r"sqlite:///.|postgres(ql)?://", url.get_secret_value()):
            raise ValueError("must start with sqlite:/// or postgresql://")
        return url

    def fetcher(self, query: Any, reactor: Any, data_dir: Path | None) -> Fetch:
        """What runs the query for each key of a batch, over one connection."""
        names, sql, url = list(query.match), query.query, self.url.get_secret_value()
        work = self._sqlite if url.startswith("sqlite") else self._postgres
        if work == self._postgres:
            _psycopg()

        async def fetch(keys: list[Key]) -> dict[Key, Any]:
            pool = getattr(reactor, "getThreadPool", None)
            arguments = (url, sql, names, keys)
            if pool is None:
                found: dict[Key, Any] = await maybeDeferred(work, *arguments)
            else:
                found = await deferToThreadPool(reactor, pool(), work, *arguments)
            return found

        return fetch

    def _sqlite(self, url: str, sql: str, names: list[str], keys: list[Key]) -> dict[Key, Any]:
        path = url.removeprefix("sqlite:///")
        try:
            with closing(
                sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=self.timeout)
            ) as connection:
                connection.row_factory = sqlite3.Row
                return {
                    key: dict(row)
                    for key in keys
                    if (row := connection.execute(sql, dict(zip(names, key, strict=True))).fetchone())
                    is not None
                }
        except sqlite3.OperationalError as error:
            if "unable to open" in str(error) or "locked" in str(error) or "busy" in str(error):
                raise LookupDown("the database cannot be read now") from None
            raise _refused(error) from None
        except (sqlite3.Error, TypeError) as error:
            raise _refused(error) from None

    def _postgres(self, url: str, sql: str, names: list[str], keys: list[Key]) -> dict[Key, Any]:
        psycopg = _psycopg()
        asked = re.sub(r"(?<!:):([A-Za-z]\w*)", r"%(\1)s", sql.replace("%", "%%"))
        found: dict[Key, Any] = {}
        try:
            with psycopg.connect(
                url, connect_timeout=max(1, int(self.timeout)), row_factory=psycopg.rows.dict_row
            ) as connection:
                connection.read_only = True
                for key in keys:
                    row = connection.execute(asked, dict(zip(names, key, strict=True))).fetchone()
                    if row is not None:
                        found[key] = row
        except psycopg.OperationalError:
            raise LookupDown("the database cannot be read now") from None
        except psycopg.Error as error:
            raise _refused(error) from None
        return found


def _refused(error: Exception) -> IsthmusError:
    return IsthmusError(
        f"the database refuses the query: {type(error).__name__}", code="lookup.query",
        todo="try the query in the database's own shell",
    )  # fmt: skip


def _psycopg() -> Any:
    try:
        import psycopg
        import psycopg.rows
    except ImportError:
        raise ConfigError(
            "PostgreSQL needs psycopg", code="lookup.psycopg", todo="pip install 'psycopg[binary]'"
        ) from None
    return psycopg
