#!/usr/bin/env bash
# test.sh: what make test and CI run. Real ZooKeeper, Redis, MariaDB
# and Nginx are part of it; deps.sh installs them where it may.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh
go vet ./...
# -count=1: what the tests of the cluster run are programs, which go test does not
# see when it looks whether a result still holds.
go test -race -count=1 -timeout 9m ./...
echo "benchmarks, one round each: they must work; make bench measures"
go test -run '^$' -bench . -benchtime 1x ./...
scripts/fuzz.sh 5000x
