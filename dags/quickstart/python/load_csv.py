"""Loads a CSV file into a table that it makes anew, every column as text.

usage: load_csv.py URL TABLE CSV
"""

import csv
import sqlite3
import sys


def main(url, table, path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows)
        columns = ", ".join(f'"{name}" text' for name in header)
        places = ", ".join("?" for _ in header)

        connection = sqlite3.connect(url.removeprefix("sqlite:"), timeout=30)
        with connection:
            connection.execute(f'drop table if exists "{table}"')
            connection.execute(f'create table "{table}" ({columns})')
            inserted = connection.executemany(f'insert into "{table}" values ({places})', rows)
        connection.close()
    print(f"{inserted.rowcount} rows of {path} are in table {table}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
