#!/usr/bin/env bash
# mutants.sh [NAME...]: breaks the code on purpose, in the ways of scripts/mutants,
# one at a time in a copy of it, and wants make chaos to find each: to show one of
# the violations that the patch names, or clients that are stuck. What is broken
# so is never built but there. DURATION (45s), SEED (1) and RATE (150) are those of
# make chaos.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

[ $# -gt 0 ] || set -- $(cd scripts/mutants && ls *.patch | sed 's/\.patch$//')
missed=0
for name; do
	patch=$PWD/scripts/mutants/$name.patch
	rm -rf "$dir/code" && mkdir "$dir/code"
	git ls-files -z -co --exclude-standard | tar -c --null -T - --ignore-failed-read 2>/dev/null | tar -x -C "$dir/code"
	(cd "$dir/code" && git apply "$patch")
	finds=$(sed -n 's/^finds: //p' "$patch")
	(cd "$dir/code" && go test -count=1 -timeout 20m -v -run '^TestChaos$' ./internal/chaos -args \
		-norace -history="$dir/history" -duration="${DURATION:-45s}" -seed="${SEED:-1}" -rate="${RATE:-150}") >"$dir/out" 2>&1 || true
	shown=$(sed -n 's/.*violations: map\[\(.*\)\]$/\1/p' "$dir/out")
	stuck=$(grep -c 'has got no further' "$dir/out" || true)
	[ "$stuck" = 0 ] || shown="$shown stuck:$stuck"
	verdict=MISSED
	for want in $finds; do
		[[ " $shown" == *" $want:"* ]] && verdict=found
	done
	[ $verdict = found ] || missed=1
	printf '%-7s %-22s %s\n' $verdict "$name" "${shown:-nothing}"
	if [ $verdict = MISSED ]; then
		grep -v 'process.go' "$dir/out" | grep '_test.go' | tail -n 40 >&2 || true
	fi
done
exit $missed
