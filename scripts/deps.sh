#!/usr/bin/env bash
# deps.sh [cluster]: makes sure that the servers which the tests start are
# installed (Debian packages), or only those of services.sh and cluster.sh. As root
# it installs what is missing; otherwise it says what is missing and fails.
set -euo pipefail

missing=()
need() { # PACKAGE FILE: the file that shows the package is there
	[ -e "$2" ] || missing+=("$1")
}
need redis-server /usr/bin/redis-server
[ "${1-}" = cluster ] || need mariadb-server /usr/sbin/mariadbd
need zookeeper /usr/share/java/zookeeper.jar
need nginx /usr/sbin/nginx
need libnginx-mod-stream /usr/lib/nginx/modules/ngx_stream_module.so
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]}" >&2
	echo "install them as root:  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

# Only the programs are wanted: no service is to be started at installation.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
