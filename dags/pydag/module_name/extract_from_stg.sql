-- Adds a category's rows of one year. `@category` is the task's parameter as a value, whatever it holds.
insert into `{project}.{dataset}.{tabledestination}` (id, category, lastdate)
select id, category, lastdate
from `{project}.{dataset}.{tablesource}`
where category = @category
  and extract(year from lastdate) = {year};
