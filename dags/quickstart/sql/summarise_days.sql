drop table if exists {destination};

create table {destination} as
with
    planned as (
        select flight_date, count(*) as flights
        from {flights}
        group by flight_date
    ),
    trouble as (
        select
            flight_date,
            sum(reason = 'cancelled') as cancelled,
            sum(reason = 'late') as late
        from {disrupted}
        group by flight_date
    )
select
    flight_date,
    flights,
    coalesce(cancelled, 0) as cancelled,
    coalesce(late, 0) as late,
    round(100.0 * (coalesce(cancelled, 0) + coalesce(late, 0)) / flights, 1) as disrupted_percent
from planned
left join trouble using (flight_date)
order by flight_date;
