#!/bin/sh
# Fails early, and in plain words, when the source is not what the pipeline was written for.
set -eu

if [ "$(head -n 1 '{csv}')" != '{header}' ]; then
    echo '{csv}: the first line is not {header}' >&2
    exit 1
fi
echo "{csv}: $(($(wc -l < '{csv}') - 1)) rows"
