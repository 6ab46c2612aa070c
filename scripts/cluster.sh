#!/usr/bin/env bash
# cluster.sh up|down|status: a cluster of 2 comets, 2 webs and 2 messages behind
# Nginx, on the ZooKeeper and the two Redis of services.sh, which up starts if
# need be.
#
# Every daemon runs with a file of conf/, copied to RUN_DIR/conf with what must
# differ: the ports of the second ones, the node name of the second comet and
# what the comets advertise, which is Nginx, the ports of the services and the
# second Redis as a second shard. Nginx runs with conf/nginx/gopush.conf.
#
#   RUN_DIR         ./run   data, logs, pid files, configuration
#   BIN             ./bin   the daemons; built where they are missing
#   PORT_SHIFT      0       added to the ports in conf/
#   SECOND_SHIFT    200     added once more for the second comet, web, message
#   ZOOKEEPER_PORT, REDIS1_PORT, REDIS2_PORT   as for services.sh
#
# up may be repeated: what runs already is left alone. Where a port is taken it
# starts nothing. down ends the daemons, clients first, and then what services.sh
# started.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUN_DIR=${RUN_DIR:-run}
export ZOOKEEPER_PORT=${ZOOKEEPER_PORT:-2181}
export REDIS1_PORT=${REDIS1_PORT:-6379}
export REDIS2_PORT=${REDIS2_PORT:-6380}
BIN=${BIN:-bin}
PORT_SHIFT=${PORT_SHIFT:-0}
SECOND_SHIFT=${SECOND_SHIFT:-200}
. scripts/process.sh

DAEMONS="message1 message2 comet1 comet2 web1 web2" # in the order in which they start

shift_of() { case $1 in *2) echo $((PORT_SHIFT + SECOND_SHIFT)) ;; *) echo "$PORT_SHIFT" ;; esac; }

# derive NAME writes RUN_DIR/conf/NAME.toml from conf/.
derive() {
  awk -v shift_by="$(shift_of "$1")" -v number="${1#"${1%?}"}" -v nginx_shift="$PORT_SHIFT" \
    -v zookeeper="$ZOOKEEPER_PORT" -v redis1="$REDIS1_PORT" -v redis2="$REDIS2_PORT" '
    /^[a-z]+\.bind/ && match($0, /localhost:[0-9]+/) {
      port = substr($0, RSTART + 10, RLENGTH - 10) + shift_by
      $0 = substr($0, 1, RSTART + 9) port substr($0, RSTART + RLENGTH)
    }
    /^websocket\.advertise/       { sub(/\[\]/, "[\"localhost:" 8100 + number + nginx_shift "\"]") }
    /^tcp\.advertise/             { sub(/\[\]/, "[\"localhost:" 8200 + number + nginx_shift "\"]") }
    /^comet\.node/                { sub(/"node[0-9]+"/, "\"node" number "\"") }
    /^\[/                         { section = $1 }
    section == "[zookeeper]"      { sub(/localhost:2181/, "localhost:" zookeeper) }
    section == "[redis.source]" && /tcp@localhost:6379/ {
      sub(/localhost:6379/, "localhost:" redis1)
      print
      $0 = "\"node2:1\" = \"tcp@localhost:" redis2 "\""
    }
    { print }
  ' "conf/${1%?}.toml" >"$RUN_DIR/conf/$1.toml"
}

# port NAME KEY prints the port that NAME binds under KEY.
port() { sed -n "s/^$2\.bind.*localhost:\([0-9]*\).*/\1/p" "$RUN_DIR/conf/$1.toml"; }

# derive_nginx writes RUN_DIR/conf/nginx.conf from conf/: with the ports of the
# daemons, its own shifted, all its files in RUN_DIR/nginx, and as this user.
derive_nginx() {
  mkdir -p "$RUN_DIR/nginx"
  awk -v root="$(id -u)" -v shift_by="$PORT_SHIFT" -v ports="
    8090=$(port web1 http) 8091=$(port web1 admin) 8290=$(port web2 http) 8291=$(port web2 admin)
    6968=$(port comet1 websocket) 6969=$(port comet1 tcp) 7168=$(port comet2 websocket) 7169=$(port comet2 tcp)" '
    BEGIN {
      for (i = split(ports, pair); i > 0; i--) { split(pair[i], p, "="); moved[p[1]] = p[2] }
    }
    /^user / { if (root == 0) print "user root;"; next }
    {
      line = ""
      while (match($0, /127\.0\.0\.1:[0-9]+/)) {
        from = substr($0, RSTART + 10, RLENGTH - 10)
        line = line substr($0, 1, RSTART + 9) (from in moved ? moved[from] : from + shift_by)
        $0 = substr($0, RSTART + RLENGTH)
      }
      $0 = line $0
      gsub("/var/log/nginx/", "") # what has no path lies in RUN_DIR/nginx
      print
    }
    /^http / {
      n = split("client_body proxy fastcgi uwsgi scgi", kind, " ")
      for (i = 1; i <= n; i++) print "    " kind[i] "_temp_path " kind[i] ";"
    }
  ' conf/nginx/gopush.conf >"$RUN_DIR/conf/nginx.conf"
}

# free NAME PORT dies if somebody else has the port.
free() {
  if listening "$2"; then
    die "port $2, wanted for $1, is taken by another program; stop it, or move all ports: PORT_SHIFT=1000 $0 up"
  fi
}

nginx_ports() { sed -n 's/.*listen  *127\.0\.0\.1:\([0-9]*\).*/\1/p' "$RUN_DIR/conf/nginx.conf"; }

# prepare writes the files of what does not run yet, and dies if a port that it
# needs is taken, before anything is started.
prepare() {
  local name key port
  mkdir -p "$RUN_DIR/conf"
  for name in $DAEMONS; do
    pid_of "$name" >/dev/null && continue
    derive "$name"
    for key in http admin websocket tcp rpc stat pprof; do
      port=$(port "$name" $key)
      if [ -n "$port" ]; then free "$name" "$port"; fi
    done
  done
  pid_of nginx >/dev/null && return 0
  derive_nginx
  for port in $(nginx_ports); do free nginx "$port"; done
}

up_nginx() {
  local port
  pid_of nginx >/dev/null && return 0
  launch nginx /usr/sbin/nginx -e stderr -p "$(cd "$RUN_DIR/nginx" && pwd)/" -c "$(cd "$RUN_DIR" && pwd)/conf/nginx.conf" \
    -g "daemon off; pid pid;"
  for port in $(nginx_ports); do await nginx 30 listening "$port"; done
}

# ready NAME asks the daemon itself.
ready() {
  local stat
  stat=$(port "$1" stat)
  (exec 3<>"/dev/tcp/127.0.0.1/$stat" &&
    printf 'GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3 && head -n 1 <&3 | grep -q ' 200 ') 2>/dev/null
}

up_daemon() {
  local name=$1
  pid_of "$name" >/dev/null && return 0
  launch "$name" "$BIN/${name%?}" -c "$RUN_DIR/conf/$name.toml"
}

status() {
  local down=0 name
  for name in message1 message2; do
    row $name "rpc localhost:$(port $name rpc)  stat http://localhost:$(port $name stat)/stat" || down=1
  done
  for name in comet1 comet2; do
    row $name "tcp localhost:$(port $name tcp)  websocket localhost:$(port $name websocket)  stat http://localhost:$(port $name stat)/stat" || down=1
  done
  for name in web1 web2; do
    row $name "http http://localhost:$(port $name http)  admin http://localhost:$(port $name admin)  stat http://localhost:$(port $name stat)/stat" || down=1
  done
  row nginx "http http://localhost:$((8000 + PORT_SHIFT))  admin http://localhost:$((8001 + PORT_SHIFT))  log $RUN_DIR/nginx/gopush.log" || down=1
  return $down
}

case "${1:-}" in
  up)
    for daemon in comet web message gopush; do
      [ -x "$BIN/$daemon" ] || { make build; BIN=bin; break; }
    done
    prepare
    scripts/services.sh up
    for name in $DAEMONS; do up_daemon $name; done
    for name in $DAEMONS; do await $name 60 ready $name; done
    up_nginx
    status
    cat <<EOF

Try it:
  $BIN/gopush nodes --admin http://localhost:$(port web1 admin)
  $BIN/gopush sub alice --web http://localhost:$((8000 + PORT_SHIFT))
  $BIN/gopush push alice '{"hello":"cluster"}' --admin http://localhost:$((8001 + PORT_SHIFT))
EOF
    ;;
  down)
    for name in nginx web2 web1 comet2 comet1 message2 message1; do stop $name; done
    scripts/services.sh down
    ;;
  status)
    scripts/services.sh status || true
    [ -e "$RUN_DIR/conf/web2.toml" ] || die "never started here; $0 up starts it"
    status
    ;;
  *) sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
