-- Makes a staging table anew, empty.
create or replace table `{project}.{dataset}.{table}` ({columns});
