"""Rows for BigQuery's tables without a job, as Spark's connector writes them."""

import duckdb

from . import datasets
from .errors import ApiError, invalid
from .script import SqlError
from .values import from_json
from .warehouse import Table, name_of


async def load(fake, body):
    """Writes rows into a table, which is made where it does not exist; answers how many there were."""
    project, dataset = body["project"], body.get("dataset")
    if fake.warehouse.dataset(project, dataset) is None:
        raise ApiError(404, f"Not found: Dataset {project}:{dataset}")
    whole = (project, dataset, body["table"])
    try:
        return {"rows": await fake.warehouse.run(write_rows, fake.warehouse, whole, body)}
    except (duckdb.Error, SqlError) as error:
        raise invalid(str(error)) from error


def write_rows(warehouse, whole, body):
    """Writes rows on one of the warehouse's threads."""
    fields, rows, mode = body["schema"], body["rows"], body.get("mode", "append")
    fields = fields.get("fields") if isinstance(fields, dict) else fields
    if mode not in ("append", "overwrite"):
        raise SqlError(f"no mode {mode}")
    tables = warehouse.dataset(*whole[:2]).tables
    with warehouse.writing:
        if mode == "overwrite" or whole[2] not in tables:
            datasets.create_table(warehouse, whole, fields)
            tables[whole[2]] = Table()
        if rows:
            marks = ", ".join("?" for _ in fields)
            values = [[from_json(row.get(field["name"]), field) for field in fields] for row in rows]
            warehouse.connection.executemany(f"INSERT INTO {name_of(whole)} VALUES ({marks})", values)
    return len(rows)
