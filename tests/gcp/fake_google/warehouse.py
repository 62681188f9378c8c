"""The DuckDB behind BigQuery: a database for each project, a schema for each dataset, a few threads for all jobs."""

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
from sqlglot import exp

from .script import SqlError
from .state import now_ms
from .values import WIDTHS, quote, schema_of

THREADS = 2
MEGABYTE = 2**20


class Table:
    """What is known of a table besides its rows."""

    def __init__(self, kind="TABLE", **facts):
        self.kind = kind
        self.created = now_ms()
        self.facts = facts


class Dataset:
    """A dataset and its tables' names."""

    def __init__(self, location, facts=None):
        self.location = location
        self.created = now_ms()
        self.facts = facts or {}
        self.tables = {}


class Warehouse:
    """All data of all projects."""

    def __init__(self):
        self.connection = duckdb.connect(":memory:")
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute(f"SET threads = {THREADS}")
        self.pool = ThreadPoolExecutor(THREADS)
        # BigQuery lets changes wait for each other; DuckDB would refuse one of two.
        self.writing = threading.RLock()
        self.datasets = {}
        self.attached = set()

    async def run(self, work, *arguments):
        """Does something that takes a while on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)

    def cursor(self):
        """A connection of its own to the same data."""
        return self.connection.cursor()

    def dataset(self, project, name):
        """A dataset, or None."""
        return self.datasets.get((project, name))

    def make_dataset(self, project, name, location, facts=None):
        """Makes a dataset that does not exist."""
        with self.writing:
            if project not in self.attached:
                self.connection.execute(f"ATTACH ':memory:' AS {quote(project)}")
                self.attached.add(project)
            self.connection.execute(f"CREATE SCHEMA {quote(project)}.{quote(name)}")
            self.datasets[project, name] = Dataset(location, facts)

    def drop_dataset(self, project, name):
        """Removes a dataset and its tables."""
        with self.writing:
            self.connection.execute(f"DROP SCHEMA {quote(project)}.{quote(name)} CASCADE")
            del self.datasets[project, name]

    def schema(self, whole):
        """A table's columns."""
        cursor = self.cursor()
        try:
            cursor.execute(f"SELECT * FROM {name_of(whole)} LIMIT 0")
            return schema_of(cursor.description)
        finally:
            cursor.close()

    def rows(self, whole):
        """How many rows a table has."""
        cursor = self.cursor()
        try:
            return cursor.execute(f"SELECT count(*) FROM {name_of(whole)}").fetchone()[0]
        finally:
            cursor.close()

    def bytes_of(self, whole, wanted):
        """The bytes that BigQuery would count for reading some columns of a table; all of them for None."""
        parts = ["0 * count(*)"]
        for field in self.schema(whole):
            if wanted is not None and field["name"].lower() not in wanted:
                continue
            name = quote(field["name"])
            width = WIDTHS.get(field["type"]) if field["mode"] != "REPEATED" else None
            parts.append(f"{width} * count({name})" if width else
                         f"coalesce(sum(strlen(CAST({name} AS VARCHAR)) + 2), 0)")
        cursor = self.cursor()
        try:
            return int(cursor.execute(f"SELECT {' + '.join(parts)} FROM {name_of(whole)}").fetchone()[0])
        finally:
            cursor.close()


def name_of(whole):
    """A table's whole name in SQL."""
    return ".".join(quote(part) for part in whole if part is not None)


def billed(processed):
    """What BigQuery would bill for: whole megabytes, at least ten, unless nothing was read."""
    return max(10, -(-processed // MEGABYTE)) * MEGABYTE if processed else 0


def as_sql_error(error, leaf):
    """DuckDB's error in BigQuery's words, with the place in the user's own text where it can be found."""
    text = str(error)
    column = re.search(r'Referenced column "([^"]+)" (?:not found|was not found)', text)
    if column:
        return SqlError(f"Unrecognized name: {column[1]} at {place(leaf, column[1])}")
    function = re.search(r"(?:Scalar|Table|Aggregate)? ?Function with name \"?(\w+)\"? does not exist", text)
    if function:
        return SqlError(f"Function not found: {function[1]} at {place(leaf, function[1])}")
    message = re.sub(r"^[A-Z][\w ]* Error: ", "", text.split("\n")[0])
    if isinstance(error, duckdb.ParserException):
        return SqlError(f"Syntax error: {message} at [{leaf.line}:{leaf.col}]")
    return SqlError(message)


def place(leaf, name):
    """Where a name stands in a statement."""
    for node in leaf.tree.find_all(exp.Identifier, exp.Anonymous):
        if node.name.lower() == name.lower() and "line" in node.meta:
            return f"[{node.meta['line']}:{node.meta['col'] - len(node.name) + 1}]"
    return f"[{leaf.line}:{leaf.col}]"
