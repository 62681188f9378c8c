-- Makes the table anew, so that a run can be repeated.
drop table if exists {table};

create table {table} (
    {columns}
);
