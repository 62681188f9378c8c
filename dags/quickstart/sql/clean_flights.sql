-- Text into dates and numbers, NA into null, one row for each flight.
drop table if exists {destination};

create table {destination} as
select distinct
    printf('%04d-%02d-%02d', year, month, day) as flight_date,
    carrier,
    cast(flight as integer) as flight,
    origin,
    dest,
    cast(nullif(dep_delay, 'NA') as integer) as dep_delay,
    cast(nullif(arr_delay, 'NA') as integer) as arr_delay
from {source}
where origin in ('EWR', 'JFK', 'LGA');
