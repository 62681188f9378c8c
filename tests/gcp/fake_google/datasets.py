"""BigQuery's datasets, tables and their rows."""

import duckdb

from .errors import ApiError, invalid
from .script import SqlError
from .state import now_ms
from .values import columns_sql, row_of
from .warehouse import Table, name_of

FACTS = ("description", "friendlyName", "labels", "defaultTableExpirationMs", "defaultPartitionExpirationMs")
TABLE_FACTS = ("description", "friendlyName", "labels", "timePartitioning", "rangePartitioning", "clustering",
               "expirationTime", "requirePartitionFilter")


async def ensure(fake, project, name, location):
    """Makes a dataset unless it exists."""
    warehouse = fake.warehouse
    if warehouse.dataset(project, name) is None:
        await warehouse.run(warehouse.make_dataset, project, name, location)


def dataset_of(call):
    """The dataset that a call is about, and its key; raises `ApiError`."""
    project, name = call.params["projectId"], call.params["datasetId"]
    dataset = call.fake.warehouse.dataset(project, name)
    if dataset is None:
        raise ApiError(404, f"Not found: Dataset {project}:{name}")
    return dataset, (project, name)


def show_dataset(key, dataset, call):
    """A dataset as the API shows it."""
    project, name = key
    return {"kind": "bigquery#dataset", "etag": dataset.created, "id": f"{project}:{name}", **dataset.facts,
            "selfLink": f"{call.fake.url}/bigquery/v2/projects/{project}/datasets/{name}",
            "datasetReference": {"projectId": project, "datasetId": name}, "location": dataset.location,
            "creationTime": dataset.created, "lastModifiedTime": dataset.created, "type": "DEFAULT"}


async def insert_dataset(call):
    """datasets.insert."""
    reference = call.body.get("datasetReference", {})
    project, name = call.params["projectId"], reference.get("datasetId", "")
    if not name.replace("_", "").isalnum():
        raise invalid(f'Invalid dataset ID "{name}"')
    if reference.get("projectId", project) != project:
        raise invalid("the dataset's project is not that of the path")
    if call.fake.warehouse.dataset(project, name):
        raise ApiError(409, f"Already Exists: Dataset {project}:{name}")
    facts = {key: call.body[key] for key in FACTS if key in call.body}
    location = call.body.get("location", "US")
    await call.fake.warehouse.run(call.fake.warehouse.make_dataset, project, name, location, facts)
    return show_dataset((project, name), call.fake.warehouse.dataset(project, name), call)


async def get_dataset(call):
    """datasets.get."""
    dataset, key = dataset_of(call)
    return show_dataset(key, dataset, call)


async def list_datasets(call):
    """datasets.list."""
    project = call.params["projectId"]
    shown = [{"kind": "bigquery#dataset", "id": f"{owner}:{name}", "location": dataset.location,
              "datasetReference": {"projectId": owner, "datasetId": name}}
             for (owner, name), dataset in call.fake.warehouse.datasets.items() if owner == project]
    return {"kind": "bigquery#datasetList", "etag": now_ms(), "datasets": shown}


async def delete_dataset(call):
    """datasets.delete."""
    dataset, key = dataset_of(call)
    if dataset.tables and not call.params.get("deleteContents"):
        raise ApiError(400, f"Dataset {key[0]}:{key[1]} is still in use", "resourceInUse")
    await call.fake.warehouse.run(call.fake.warehouse.drop_dataset, *key)


def table_of(call):
    """The table that a call is about, and its whole name; raises `ApiError`."""
    dataset, key = dataset_of(call)
    whole = (*key, call.params["tableId"])
    if whole[2] not in dataset.tables:
        raise ApiError(404, f"Not found: Table {whole[0]}:{whole[1]}.{whole[2]}")
    return dataset.tables[whole[2]], whole


def show_table(whole, call):
    """A table as the API shows it."""
    project, dataset_name, name = whole
    dataset = call.fake.warehouse.dataset(project, dataset_name)
    table = dataset.tables[name]
    rows, size = call.fake.warehouse.rows(whole), call.fake.warehouse.bytes_of(whole, None)
    return {"kind": "bigquery#table", "etag": table.created, "id": f"{project}:{dataset_name}.{name}", **table.facts,
            "selfLink": f"{call.fake.url}/bigquery/v2/projects/{project}/datasets/{dataset_name}/tables/{name}",
            "tableReference": {"projectId": project, "datasetId": dataset_name, "tableId": name},
            "schema": {"fields": call.fake.warehouse.schema(whole)}, "type": table.kind,
            "location": dataset.location, "numRows": str(rows), "numBytes": str(size),
            "creationTime": table.created, "lastModifiedTime": table.created}


async def insert_table(call):
    """tables.insert."""
    dataset, key = dataset_of(call)
    name = call.body.get("tableReference", {}).get("tableId", "")
    whole = (*key, name)
    if not name:
        raise invalid("Required parameter is missing: tableReference.tableId", "required")
    if name in dataset.tables:
        raise ApiError(409, f"Already Exists: Table {key[0]}:{key[1]}.{name}")
    fields = call.body.get("schema", {}).get("fields")
    if not fields:
        raise ApiError(501, "the fake makes no table without columns")
    await call.fake.warehouse.run(create_table, call.fake.warehouse, whole, fields)
    dataset.tables[name] = Table(**{key: call.body[key] for key in TABLE_FACTS if key in call.body})
    return await call.fake.warehouse.run(show_table, whole, call)


def create_table(warehouse, whole, fields):
    """Makes a table with columns as the API names them; raises `ApiError`."""
    try:
        with warehouse.writing:
            warehouse.connection.execute(f"CREATE OR REPLACE TABLE {name_of(whole)} ({columns_sql(fields)})")
    except (duckdb.Error, SqlError) as error:
        raise invalid(str(error)) from error


async def get_table(call):
    """tables.get."""
    _, whole = table_of(call)
    return await call.fake.warehouse.run(show_table, whole, call)


async def list_tables(call):
    """tables.list."""
    dataset, key = dataset_of(call)
    shown = [{"kind": "bigquery#table", "id": f"{key[0]}:{key[1]}.{name}", "type": table.kind,
              "creationTime": table.created,
              "tableReference": {"projectId": key[0], "datasetId": key[1], "tableId": name}}
             for name, table in sorted(dataset.tables.items())]
    return {"kind": "bigquery#tableList", "etag": now_ms(), "tables": shown, "totalItems": len(shown)}


async def delete_table(call):
    """tables.delete."""
    table, whole = table_of(call)
    await call.fake.warehouse.run(drop_table, call.fake.warehouse, table, whole)


def drop_table(warehouse, table, whole):
    """Removes a table or a view."""
    with warehouse.writing:
        warehouse.connection.execute(f"DROP {'VIEW' if table.kind == 'VIEW' else 'TABLE'} {name_of(whole)}")
        del warehouse.dataset(*whole[:2]).tables[whole[2]]


async def list_rows(call):
    """tabledata.list."""
    _, whole = table_of(call)
    start = int(call.params.get("pageToken") or call.params.get("startIndex") or 0)
    count = call.params.get("maxResults") or 10_000
    micros = call.params.get("formatOptions.useInt64Timestamp", False)
    rows, total = await call.fake.warehouse.run(read_rows, call.fake.warehouse, whole, start, count, micros)
    answer = {"kind": "bigquery#tableDataList", "etag": now_ms(), "totalRows": str(total), "rows": rows}
    if start + count < total:
        answer["pageToken"] = str(start + count)
    return answer


def read_rows(warehouse, whole, start, count, micros):
    """Some rows of a table, and how many there are."""
    fields = warehouse.schema(whole)
    cursor = warehouse.cursor()
    try:
        rows = cursor.execute(f"SELECT * FROM {name_of(whole)} LIMIT {count} OFFSET {start}").fetchall()
    finally:
        cursor.close()
    return [row_of(row, fields, micros) for row in rows], warehouse.rows(whole)


METHODS = {
    "bigquery.datasets.insert": insert_dataset,
    "bigquery.datasets.get": get_dataset,
    "bigquery.datasets.list": list_datasets,
    "bigquery.datasets.delete": delete_dataset,
    "bigquery.tables.insert": insert_table,
    "bigquery.tables.get": get_table,
    "bigquery.tables.list": list_tables,
    "bigquery.tables.delete": delete_table,
    "bigquery.tabledata.list": list_rows,
}
