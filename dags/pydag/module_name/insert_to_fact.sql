-- Adds the rows of both staging tables to the final one.
insert into `{project}.{dataset}.{tablefinal}` (id, category, lastdate)
select id, category, lastdate from `{project}.{dataset}.{table1}`
union all
select id, category, lastdate from `{project}.{dataset}.{table2}`;
