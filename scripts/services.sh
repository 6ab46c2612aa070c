#!/usr/bin/env bash
# services.sh up|down|status: one ZooKeeper and two Redis on loopback, for
# development and tests. Each keeps its data in a folder of its own under
# RUN_DIR; both Redis write every change to disk before they answer.
#
#   RUN_DIR         ./run   data, logs and pid files
#   ZOOKEEPER_PORT  2181
#   REDIS1_PORT     6379
#   REDIS2_PORT     6380
#
# deps.sh installs what is missing, where it may. up may be repeated: what runs
# already is left alone. down ends what up started and nothing else, and keeps
# the data.
set -euo pipefail
cd "$(dirname "$0")/.."
RUN_DIR=${RUN_DIR:-run}
ZOOKEEPER_PORT=${ZOOKEEPER_PORT:-2181}
REDIS1_PORT=${REDIS1_PORT:-6379}
REDIS2_PORT=${REDIS2_PORT:-6380}
. scripts/process.sh

# classpath prints the jars of Debian's ZooKeeper and what it needs.
classpath() {
  local jars=
  for jar in /usr/share/java/{zookeeper,slf4j-,netty,metrics-,snappy,commons-,log,jackson,audience}*.jar; do
    [ -e "$jar" ] && jars=$jars:$jar
  done
  echo "${jars#:}"
}

# free NAME PORT KNOB dies if somebody else has the port.
free() {
  if listening "$2"; then
    die "port $2, wanted for $1, is taken by another program; stop it, or choose another port: $3=PORT $0 up"
  fi
}

# zookeeper_ready asks with srvr, the only word that ZooKeeper answers by default.
zookeeper_ready() {
  (exec 3<>"/dev/tcp/127.0.0.1/$ZOOKEEPER_PORT" && printf srvr >&3 && grep -q '^Mode:' <&3) 2>/dev/null
}

redis_ready() { [ "$(redis-cli -h 127.0.0.1 -p "$1" ping 2>/dev/null)" = PONG ]; }

up_zookeeper() {
  pid_of zookeeper >/dev/null && return 0
  free zookeeper "$ZOOKEEPER_PORT" ZOOKEEPER_PORT
  mkdir -p "$RUN_DIR/zookeeper"
  cat >"$RUN_DIR/zookeeper/zoo.cfg" <<EOF
tickTime=500
dataDir=$(cd "$RUN_DIR" && pwd)/zookeeper/data
clientPort=$ZOOKEEPER_PORT
clientPortAddress=127.0.0.1
admin.enableServer=false
EOF
  launch zookeeper java -Xmx256m -cp "$(classpath)" \
    org.apache.zookeeper.server.quorum.QuorumPeerMain "$RUN_DIR/zookeeper/zoo.cfg"
  await zookeeper 60 zookeeper_ready
}

up_redis() { # NAME PORT KNOB
  pid_of "$1" >/dev/null && return 0
  free "$1" "$2" "$3"
  mkdir -p "$RUN_DIR/$1"
  launch "$1" redis-server --bind 127.0.0.1 --port "$2" --dir "$RUN_DIR/$1" \
    --save "" --appendonly yes --appendfsync always
  await "$1" 60 redis_ready "$2"
}

status() {
  local down=0
  row zookeeper "127.0.0.1:$ZOOKEEPER_PORT" || down=1
  row redis1 "127.0.0.1:$REDIS1_PORT" || down=1
  row redis2 "127.0.0.1:$REDIS2_PORT" || down=1
  return $down
}

case "${1:-}" in
  up)
    scripts/deps.sh cluster
    mkdir -p "$RUN_DIR"
    up_zookeeper
    up_redis redis1 "$REDIS1_PORT" REDIS1_PORT
    up_redis redis2 "$REDIS2_PORT" REDIS2_PORT
    status
    ;;
  down) for name in redis2 redis1 zookeeper; do stop $name; done ;;
  status) status ;;
  *) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
