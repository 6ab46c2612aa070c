#!/usr/bin/env bash
# lint.sh: all that a reviewer should not have to say. make lint names the
# versions of the tools in STATICCHECK and GOVULNCHECK.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}

echo gofmt
unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l)
[ -z "$unformatted" ] || { echo "run gofmt -w on:" $unformatted >&2; exit 1; }

echo vet
$go vet ./...

echo staticcheck
$go run "${STATICCHECK:?set by make lint}" ./...

echo govulncheck
# The list of vulnerabilities is on vuln.go.dev. A machine that cannot reach it
# cannot answer the question, and its other checks still count.
if ! out=$($go run "${GOVULNCHECK:?set by make lint}" ./... 2>&1); then
  if grep -q -e 'vuln\.go\.dev' -e 'fetching vulnerabilities' <<<"$out"; then
    echo "govulncheck: not run, the vulnerability list is out of reach:" >&2
    grep -m 1 -e 'vuln\.go\.dev' -e 'fetching vulnerabilities' <<<"$out" >&2
  else
    echo "$out" >&2
    exit 1
  fi
fi
