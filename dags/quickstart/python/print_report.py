"""Prints the daily report, with a bar for the share of flights that were cancelled or late.

usage: print_report.py URL TABLE
"""

import sqlite3
import sys

BAR_WIDTH = 30


def main(url, table):
    connection = sqlite3.connect(url.removeprefix("sqlite:"), timeout=30)
    days = connection.execute(
        f'select flight_date, flights, cancelled, late, disrupted_percent from "{table}" order by flight_date'
    ).fetchall()
    connection.close()
    if not days:
        sys.exit(f"table {table} of {url} has no rows")

    print("Flights out of New York, cancelled or an hour late and more")
    print(f"{'day':<10} {'flights':>8} {'cancelled':>10} {'late':>6} {'share':>7}")
    for day, flights, cancelled, late, percent in days:
        bar = "#" * round(percent * BAR_WIDTH / 100)
        print(f"{day:<10} {flights:>8} {cancelled:>10} {late:>6} {percent:>6.1f}% {bar}".rstrip())

    worst = max(days, key=lambda row: row[4])
    print(f"The worst day was {worst[0]}: {worst[2] + worst[3]} of {worst[1]} flights.")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
