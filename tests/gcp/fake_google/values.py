"""Values between BigQuery's JSON and DuckDB: rows, schemas and query parameters."""

import base64
import datetime
import json
import math

from sqlglot import exp

from .script import SqlError

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
# DuckDB's types by BigQuery's names, both the older and the standard ones.
TYPES = {
    "INTEGER": "BIGINT", "INT64": "BIGINT", "FLOAT": "DOUBLE", "FLOAT64": "DOUBLE", "BOOLEAN": "BOOLEAN",
    "BOOL": "BOOLEAN", "STRING": "VARCHAR", "BYTES": "BLOB", "DATE": "DATE", "TIME": "TIME", "DATETIME": "TIMESTAMP",
    "TIMESTAMP": "TIMESTAMPTZ", "NUMERIC": "DECIMAL(38, 9)", "BIGNUMERIC": "DECIMAL(38, 9)", "JSON": "JSON",
}
NAMES = {
    "bigint": "INTEGER", "integer": "INTEGER", "smallint": "INTEGER", "tinyint": "INTEGER", "hugeint": "INTEGER",
    "ubigint": "INTEGER", "uinteger": "INTEGER", "usmallint": "INTEGER", "utinyint": "INTEGER", "double": "FLOAT",
    "float": "FLOAT", "boolean": "BOOLEAN", "varchar": "STRING", "blob": "BYTES", "date": "DATE", "time": "TIME",
    "timestamp": "DATETIME", "timestamp with time zone": "TIMESTAMP", "decimal": "NUMERIC", "json": "JSON",
    "struct": "RECORD", "interval": "INTERVAL",
}
# What BigQuery counts for a value of a type; text counts its length and two bytes.
WIDTHS = {"INTEGER": 8, "FLOAT": 8, "BOOLEAN": 1, "DATE": 8, "TIME": 8, "DATETIME": 8, "TIMESTAMP": 8, "NUMERIC": 16}


def field_of(name, kind, mode="NULLABLE"):
    """A column as a schema shows it, from DuckDB's type of it."""
    if kind.id in ("list", "array"):
        return {**field_of(name, kind.children[0][1]), "mode": "REPEATED"}
    if str(kind) == "JSON":
        return {"name": name, "type": "JSON", "mode": mode}
    field = {"name": name, "type": NAMES.get(kind.id.lower(), "STRING"), "mode": mode}
    if kind.id == "struct":
        field["fields"] = [field_of(*child) for child in kind.children]
    return field


def schema_of(description):
    """A result's schema, from a cursor's description; a column without a name gets one, as in BigQuery."""
    return [field_of(column[0], column[1]) for column in description]


def row_of(row, fields, micros=False):
    """A row in the API's format."""
    return {"f": [{"v": cell(value, field, micros)} for value, field in zip(row, fields)]}


def cell(value, field, micros):
    """A value in the API's format."""
    if field.get("mode") == "REPEATED":
        one = {**field, "mode": "NULLABLE"}
        return [{"v": cell(part, one, micros)} for part in value or []]
    if value is None:
        return None
    if field["type"] == "RECORD":
        return row_of(value.values(), field["fields"], micros)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return moment(value, micros)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if field["type"] == "NUMERIC":
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return value if isinstance(value, str) else str(value)


def moment(value, micros):
    """A DATETIME or a TIMESTAMP in the API's format."""
    if value.tzinfo is None:
        return value.isoformat()
    since = value - EPOCH
    whole = (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds
    return str(whole) if micros else repr(whole / 1e6)


def type_sql(field):
    """DuckDB's type of a schema's column."""
    kind = field["type"].upper()
    if kind in ("RECORD", "STRUCT"):
        inner = ", ".join(f"{quote(part['name'])} {type_sql(part)}" for part in field.get("fields", []))
        result = f"STRUCT({inner})"
    elif kind in TYPES:
        result = TYPES[kind]
    else:
        raise SqlError(f"the fake knows no type {kind}", "invalid")
    return f"{result}[]" if field.get("mode") == "REPEATED" else result


def columns_sql(fields):
    """A table's columns for CREATE TABLE."""
    required = {True: " NOT NULL", False: ""}
    return ", ".join(f"{quote(field['name'])} {type_sql(field)}{required[field.get('mode') == 'REQUIRED']}"
                     for field in fields)


def quote(name):
    """A name, quoted."""
    return '"' + name.replace('"', '""') + '"'


def parameter(spec):
    """A query parameter's value as an expression for DuckDB."""
    kind, value = spec.get("parameterType", {}), spec.get("parameterValue", {})
    return exp.Paren(this=exp.maybe_parse(parameter_sql(kind, value), dialect="duckdb"))


def parameter_sql(kind, value):
    """A query parameter's value in DuckDB's words."""
    name = kind.get("type", "").upper()
    if name == "ARRAY":
        parts = [parameter_sql(kind["arrayType"], part) for part in value.get("arrayValues", [])]
        return f"CAST([{', '.join(parts)}] AS {parameter_type(kind)})"
    if name == "STRUCT":
        values = value.get("structValues", {})
        parts = [f"{quote(part['name'])} := {parameter_sql(part['type'], values.get(part['name'], {}))}"
                 for part in kind.get("structTypes", [])]
        return f"struct_pack({', '.join(parts)})"
    if value.get("value") is None:
        return f"CAST(NULL AS {parameter_type(kind)})"
    text = value["value"].replace("'", "''")
    if name == "BYTES":
        return f"from_base64('{text}')"
    return f"CAST('{text}' AS {parameter_type(kind)})"


def parameter_type(kind):
    """DuckDB's type of a query parameter."""
    name = kind.get("type", "").upper()
    if name == "ARRAY":
        return f"{parameter_type(kind['arrayType'])}[]"
    if name == "STRUCT":
        return "STRUCT(" + ", ".join(f"{quote(part['name'])} {parameter_type(part['type'])}"
                                     for part in kind.get("structTypes", [])) + ")"
    if name not in TYPES:
        raise SqlError(f"Invalid value for: {name} is not a valid type", "invalid")
    return TYPES[name]


def from_json(value, field):
    """A value of a loaded row, as DuckDB takes it."""
    if value is None:
        return None
    if field.get("mode") == "REPEATED":
        return [from_json(part, {**field, "mode": "NULLABLE"}) for part in value]
    kind = field["type"].upper()
    if kind in ("RECORD", "STRUCT"):
        return {part["name"]: from_json(value.get(part["name"]), part) for part in field["fields"]}
    if kind == "BYTES":
        return base64.b64decode(value)
    return json.dumps(value) if kind == "JSON" else value
