-- What csv_gcs_to_bq.py does with Spark, in DuckDB's own SQL: a file's rows replace those of a table.
create schema if not exists {dataset};
create or replace table {dataset}.{destination_table} as
select col1 as id, col2 as category, col3 as lastdate
from read_csv('{bucket}/{folder}/{file_name}', header = true, columns = {{'col1': 'BIGINT', 'col2': 'VARCHAR', 'col3': 'DATE'}});
