insert into {destination} (flight_date, carrier, flight, origin, minutes_late)
select flight_date, carrier, flight, origin, dep_delay
from {source}
where {condition};
