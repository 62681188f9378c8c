#!/bin/sh
set -eu

exec python3 quickstart/python/load_csv.py '{url}' '{table}' '{csv}'
