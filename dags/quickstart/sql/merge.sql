insert into {destination} (flight_date, carrier, flight, origin, minutes_late, reason)
select flight_date, carrier, flight, origin, minutes_late, 'cancelled'
from {cancelled}
union all
select flight_date, carrier, flight, origin, minutes_late, 'late'
from {late};
