"""Ingests a CSV file of Cloud Storage into a table of BigQuery, whose rows it replaces.

Called with `--params` and a JSON object: `id`, the job's name; `bucket`, `folder` and `file_name`, the file's place;
`dataset` and `destination_table`; `temporarygcsbucket`, where the BigQuery connector puts what it writes on its way.
"""

import argparse
import json

from pyspark.sql import SparkSession
from pyspark.sql.types import DateType, IntegerType, StringType, StructField, StructType

# The file's columns, and what they are called in the table.
COLUMNS = (("col1", "id", IntegerType()), ("col2", "category", StringType()), ("col3", "lastdate", DateType()))


def read(spark, params):
    """The file's rows, under the table's names."""
    schema = StructType([StructField(name, kind, nullable=True) for name, _, kind in COLUMNS])
    place = "gs://{bucket}/{folder}/{file_name}".format(**params)
    rows = spark.read.schema(schema).option("header", "true").csv(place)
    return rows.toDF(*[name for _, name, _ in COLUMNS])


def write(rows, params):
    """Replaces the table by the rows."""
    table = "{dataset}.{destination_table}".format(**params)
    rows.write.format("bigquery").option("table", table).mode("overwrite").save()


def main():
    """Reads, writes and says so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", required=True, type=json.loads)
    params = parser.parse_args().params
    spark = SparkSession.builder.master("yarn").appName(params["id"]).getOrCreate()
    try:
        spark.conf.set("temporaryGcsBucket", params["temporarygcsbucket"])
        write(read(spark, params), params)
        print(params["id"], "is ready")
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
