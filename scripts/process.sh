# Sourced by services.sh and cluster.sh: processes known by pid files.
#
# RUN_DIR/NAME.pid holds the pid and nothing else, for kill $(cat ...), and
# RUN_DIR/NAME.started when that process started, so that a number which the
# system has since given to somebody else is never taken for ours. RUN_DIR/NAME.log
# holds what the process printed, each start behind the last.

die() { echo "${0##*/}: $*" >&2; exit 1; }

# started_at PID prints something that two processes with one pid do not share.
started_at() {
  if [ -r "/proc/$1/stat" ]; then
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
  else
    ps -o lstart= -p "$1" 2>/dev/null
  fi
}

# pid_of NAME prints the pid of NAME if it is running, and fails otherwise.
pid_of() {
  local pid started
  [ -s "$RUN_DIR/$1.pid" ] && [ -s "$RUN_DIR/$1.started" ] || return 1
  read -r pid <"$RUN_DIR/$1.pid" && read -r started <"$RUN_DIR/$1.started" || return 1
  [ -n "$pid" ] && [ -n "$started" ] && [ "$(started_at "$pid")" = "$started" ] || return 1
  case "$(ps -o stat= -p "$pid")" in Z*) return 1 ;; esac # over, but nobody has asked for its exit code
  echo "$pid"
}

# launch NAME COMMAND... starts COMMAND in the background.
launch() {
  local name=$1 pid
  shift
  nohup "$@" >>"$RUN_DIR/$name.log" 2>&1 </dev/null &
  pid=$!
  started_at "$pid" >"$RUN_DIR/$name.started"
  echo "$pid" >"$RUN_DIR/$name.pid"
}

# await NAME SECONDS CHECK... runs CHECK until it succeeds. It dies with the end
# of the log when the process ends first, or when the time is over.
await() {
  local name=$1 seconds=$2 end
  shift 2
  end=$((SECONDS + seconds))
  until "$@"; do
    if ! pid_of "$name" >/dev/null; then
      tail -n 15 "$RUN_DIR/$name.log" >&2
      die "$name ended at its start; its log is $RUN_DIR/$name.log"
    fi
    if [ "$SECONDS" -ge "$end" ]; then
      tail -n 15 "$RUN_DIR/$name.log" >&2
      die "$name is not ready after ${seconds}s; its log is $RUN_DIR/$name.log"
    fi
    sleep 0.1
  done
}

# stop NAME ends what launch started, and nothing else: SIGTERM, and SIGKILL
# after 70 s, which is longer than a daemon may drain.
stop() {
  local name=$1 pid end
  if pid=$(pid_of "$name"); then
    kill "$pid" 2>/dev/null || true
    end=$((SECONDS + 70))
    while pid_of "$name" >/dev/null; do
      if [ "$SECONDS" -ge "$end" ]; then
        echo "$name does not end, killing it"
        kill -9 "$pid" 2>/dev/null || true
        end=$((SECONDS + 70))
      fi
      sleep 0.1
    done
    echo "$name stopped"
  fi
  rm -f "$RUN_DIR/$name.pid" "$RUN_DIR/$name.started"
}

# listening PORT reports whether something accepts connections there.
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# row NAME TEXT prints one line of a status table; it fails if NAME is down.
row() {
  local pid
  if pid=$(pid_of "$1"); then
    printf '%-10s up    pid %-8s %s\n' "$1" "$pid" "$2"
  else
    printf '%-10s down\n' "$1"
    return 1
  fi
}
