-- Removes the staging tables, those that are there.
drop table if exists `{project}.{dataset}.{table1}`;
drop table if exists `{project}.{dataset}.{table2}`;
drop table if exists `{project}.{dataset}.{table3}`;
