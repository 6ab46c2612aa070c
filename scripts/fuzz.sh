#!/usr/bin/env bash
# fuzz.sh TIME: run every fuzz target of the module for TIME each: 10s, 5m, or a
# number of inputs, 5000x.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: fuzz.sh TIME}
# go test fuzzes one target of one package at a time.
git ls-files '*_test.go' | xargs grep -Ho '^func Fuzz[A-Za-z0-9_]*' | sort | while IFS=: read -r file func; do
  target=${func#func }
  echo "fuzz $(dirname "$file") $target $time"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "./$(dirname "$file")" </dev/null
done
