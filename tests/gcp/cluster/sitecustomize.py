"""What a Dataproc cluster has and this machine lacks, for PySpark jobs that the fake runs: YARN, `gs://` and the BigQuery
connector. Spark itself is Spark.

Python imports this file by itself from a folder on `PYTHONPATH` (the fake's `--job-path`). It changes three things, once the
job imports `pyspark.sql`: a session for `yarn` becomes one for this machine; `gs://` paths are read from the storage server
at `STORAGE_EMULATOR_HOST`; and `write.format("bigquery")` sends its rows to the fake at `FAKE_GOOGLE_URL`.
"""

import importlib
import importlib.abc
import importlib.util
import json
import os
import sys
import tempfile
import urllib.parse
import urllib.request

WATCHED = "pyspark.sql"


class AfterImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Calls `equip` once the watched module is there; until then jobs without Spark pay nothing."""

    def __init__(self):
        self.loader = None

    def find_spec(self, name, path, target=None):
        if name != WATCHED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        equip(module)


def equip(sql):
    """Gives PySpark what a cluster has."""
    master = sql.SparkSession.Builder.master
    sql.SparkSession.Builder.master = lambda self, name: master(self, "local[2]" if name == "yarn" else name)
    read_csv = sql.DataFrameReader.csv
    sql.DataFrameReader.csv = lambda self, path, *args, **kwargs: read_csv(self, fetched(path), *args, **kwargs)
    # The class of frames that live in this process; `pyspark.sql.DataFrame` is above it.
    frames = importlib.import_module("pyspark.sql.classic.dataframe").DataFrame
    frames.write = property(lambda frame: Writer(frame, sql.DataFrameWriter(frame)))


def fetched(path):
    """A file here with the content of an object."""
    if not path.startswith("gs://"):
        return path
    bucket, name = path.removeprefix("gs://").split("/", 1)
    place = f"{urllib.parse.quote(bucket)}/o/{urllib.parse.quote(name, safe='')}"
    url = f"{os.environ['STORAGE_EMULATOR_HOST']}/storage/v1/b/{place}?alt=media"
    with urllib.request.urlopen(url) as answer, tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(answer.read())
    return file.name


class Writer:
    """A frame's writer that knows one format more."""

    def __init__(self, frame, writer):
        self.frame, self.writer = frame, writer
        self.options, self.how, self.to_bigquery = {}, "errorifexists", False

    def format(self, name):
        self.to_bigquery = name == "bigquery"
        return self if self.to_bigquery else self.writer.format(name)

    def option(self, key, value):
        if not self.to_bigquery:
            return self.writer.option(key, value)
        self.options[key] = value
        return self

    def mode(self, how):
        if not self.to_bigquery:
            return self.writer.mode(how)
        self.how = how
        return self

    def save(self):
        """As the connector: through Cloud Storage, for which it wants a bucket, into the table."""
        if "temporaryGcsBucket" not in self.options and not self.frame.sparkSession.conf.get("temporaryGcsBucket", None):
            raise ValueError("Either temporary or persistent GCS bucket must be set")
        dataset, table = self.options["table"].split(".")[-2:]
        body = {"project": os.environ["FAKE_GOOGLE_PROJECT"], "dataset": dataset, "table": table, "mode": self.how,
                "schema": [column(field) for field in self.frame.schema.fields],
                "rows": [json.loads(row) for row in self.frame.toJSON().collect()]}
        request = urllib.request.Request(f"{os.environ['FAKE_GOOGLE_URL']}/_fake/bigquery/load", json.dumps(body).encode())
        urllib.request.urlopen(request).close()

    def __getattr__(self, name):
        return getattr(self.writer, name)


def column(field):
    """A column as BigQuery describes it."""
    types = {"int": "INT64", "bigint": "INT64", "string": "STRING", "date": "DATE", "double": "FLOAT64", "boolean": "BOOL",
             "timestamp": "TIMESTAMP"}
    return {"name": field.name, "type": types[field.dataType.simpleString()]}


sys.meta_path.insert(0, AfterImport())
