#!/bin/sh
set -eu

exec python3 quickstart/python/print_report.py '{url}' '{table}'
