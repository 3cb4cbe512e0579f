#!/bin/sh
# The job runner of a node: starts units of work once, ends them, and tells what became of them.
#
#   runner.sh UID start ID SIZE       reads a script of SIZE bytes; prints started, exists or cancelled
#   runner.sh UID cancel ID GRACE CODE   ends it and all that it started (GRACE: tenths of a second until SIGKILL);
#                                     records CODE unless it had ended; if it never started, it never will
#   runner.sh UID show [ID...]        a line each: ID STATE CODE START END SIZE (times in epoch seconds, - if unknown)
#   runner.sh UID events OFFSET       what runs now, then the events file from a byte on, until its input is closed
#   runner.sh UID log ID OFFSET       the log from a byte on, until its input is closed
#
# Needs a POSIX sh, cat ln mv rm mkdir wc tr tail sleep date awk, setsid (or perl), Linux's /proc,
# and bash for the units themselves.
#
# A unit is a folder ~/.skyflow/jobs/UID/ID. Each of its facts is one file that appears complete, by link or rename:
#   claim    `PID TICKS BOOT TIME` of the process that runs it, or `cancelled`. Whoever links it first decides: this is
#            the lock, and there is no moment in which it is held and its holder is not known.
#   script   what is run     log   what that prints     cancel   `CODE GRACE`: it shall end
#   end      `CODE SIZE TIME`. CODE is -1 if it was lost: the node went down with it, or the process vanished.
# ~/.skyflow/jobs/UID/events has one line for each start and end, written at once:
#   1 start ID TIME          1 end ID CODE SIZE TIME          (1: the version of the line's form)
# SKYFLOW_BOOT_ID in the environment stands for the kernel's boot id (for tests).

boot=${SKYFLOW_BOOT_ID:-}
[ -n "$boot" ] || read -r boot </proc/sys/kernel/random/boot_id || boot=unknown
mask=$(umask)
umask 077
uid=$1 command=$2 id=${3-}
root=$HOME/.skyflow/jobs/$uid
dir=$root/$id

die() { # STATUS TEXT
    echo "$2" >&2
    exit "$1"
}

now() { date +%s; }

event() { printf '1 %s\n' "$1" 2>/dev/null >>"$root/events"; }

own_session() { # instead of this shell
    if command -v setsid >/dev/null; then
        exec setsid "$@"
    else
        exec perl -e 'use POSIX; POSIX::setsid(); exec @ARGV' "$@"
    fi
}

put_new() { # FILE TEXT: false if it is there already, or cannot be written
    [ ! -e "$1" ] || return 1
    printf '%s\n' "$2" 2>/dev/null >"$1.$$" && [ -s "$1.$$" ] && ln "$1.$$" "$1" 2>/dev/null
    done=$?
    rm -f "$1.$$"
    return $done
}

finish() { # CODE: the first one counts. If the disk has no room even for this, the unit counts as lost
    size=0
    [ ! -e "$dir/log" ] || size=$(wc -c <"$dir/log")
    time=$(now)
    rm -f "$dir/reserve"
    if put_new "$dir/end" "$1 $((size)) $time"; then event "end $id $1 $((size)) $time"; fi
}

process() { # PID: sets `ticks`, the time it began; false if there is none (a zombie is none)
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- "$1" - ${stat##*) } # now $3 is the third field of proc(5), and so on
    ticks=${22}
    [ "$3" != Z ]
}

is_alive() { # PID TICKS BOOT
    [ "$3" = "$boot" ] && process "$1" && [ "$ticks" = "$2" ]
}

# The processes of the unit: all that have its mark in their environment, and (a process can overwrite its environment)
# their children and the members of their sessions. One look at /proc for all of them.
tree() {
    tail -v -c +1 /proc/[0-9]*/environ /proc/[0-9]*/stat 2>/dev/null | tr '\0' '\n' | awk -v mark="SKYFLOW_UNIT=$uid/$id" '
        /^==> \/proc\/[0-9]+\/(environ|stat) <==$/ { split($2, part, "/"); pid = part[3]; kind = part[4]; next }
        kind == "environ" && $0 == mark { hit[pid] = 1 }
        kind == "stat" && sub(/^.*\) /, "") { state[pid] = $1; parent[pid] = $2; session[pid] = $4 }
        END {
            do {
                more = 0
                for (pid in hit) if (pid in session) ours[session[pid]] = 1
                for (pid in state)
                    if (!(pid in hit) && (parent[pid] in hit || session[pid] in ours)) more = hit[pid] = 1
            } while (more)
            for (pid in hit) if (state[pid] != "Z") print pid
        }'
}

end_tree() { # SIGNAL GRACE: sends the signal once, SIGKILL after the grace, until nothing is left or SIGKILL is in vain
    signal=$1 left=$2
    while [ "$left" -gt -50 ] && pids=$(tree) && [ -n "$pids" ]; do
        [ "$left" -gt 0 ] || signal=KILL
        kill -s "$signal" $pids 2>/dev/null
        signal=0 left=$((left - 1))
        sleep 0.1
    done
}

answer() { # why there was nothing to start
    read -r pid _ <"$dir/claim"
    if [ "$pid" = cancelled ]; then echo cancelled; else echo exists; fi
}

start() { # SIZE
    if [ -e "$dir/claim" ]; then
        answer
        return
    fi
    mkdir -p "$dir" || exit 1
    cat >"$dir/script.$$" || die 1 "cannot write the script"
    size=$(wc -c <"$dir/script.$$")
    if [ "$size" -ne "$1" ]; then
        rm -f "$dir/script.$$"
        die 75 "the script was cut: $((size)) of $1 bytes arrived"
    fi
    said=$(umask "$mask" && own_session sh "$0" "$uid" run "$id" "$dir/script.$$" &)
    [ -n "$said" ] || die 1 "the unit could not be started"
    echo "$said"
}

run() { # SCRIPT: the process that a unit lives in, leader of a session
    time=$(now)
    process $$
    if ! put_new "$dir/claim" "$$ $ticks $boot $time"; then
        rm -f "$1"
        [ -e "$dir/claim" ] || die 1 "cannot write $dir/claim"
        answer
        return
    fi
    printf '%4096s' '' 2>/dev/null >"$dir/reserve" # room for the unit's end, should it fill the disk
    mv -f "$1" "$dir/script"
    : >"$dir/log"
    event "start $id $time"
    echo started
    exec </dev/null >/dev/null 2>&1
    trap : HUP INT # handled rather than ignored: what is ignored here is ignored by the unit too
    down=
    trap down=yes TERM # the node goes down; who cancels leaves a note in `cancel` first
    if [ ! -e "$dir/cancel" ]; then
        # A session of its own, because `kill 0` in a script must not reach this process.
        (
            cd "$HOME" && umask "$mask"
            SKYFLOW_UNIT=$uid/$id
            export SKYFLOW_UNIT
            own_session bash "$dir/script" >>"$dir/log" 2>&1
        )
        code=$?
        [ -z "$down" ] || code=-1 # it did not end, the node ended it
    fi
    if [ -e "$dir/cancel" ]; then
        read -r code grace <"$dir/cancel"
        end_tree 0 "$grace" # whoever cancelled has sent the signal
    fi
    finish "$code"
}

cancel() { # GRACE CODE
    mkdir -p "$dir" || exit 1
    if put_new "$dir/claim" cancelled; then finish "$2"; fi
    [ -e "$dir/claim" ] || die 1 "cannot write $dir/claim"
    read -r pid ticks_then boot_then _ <"$dir/claim"
    [ "$pid" != cancelled ] || [ -e "$dir/end" ] || finish "$2"
    [ ! -e "$dir/end" ] || return 0
    put_new "$dir/cancel" "$2 $1"
    patience=50
    while [ ! -e "$dir/end" ]; do # also when the unit is between its claim and its first process
        end_tree TERM "$1"
        if ! is_alive "$pid" "$ticks_then" "$boot_then"; then
            finish "$2"
            return
        elif [ $patience -eq 0 ]; then
            kill -s KILL "$pid"
        else
            patience=$((patience - 1))
            sleep 0.1
        fi
    done
}

show_one() {
    [ -e "$dir/claim" ] || return 0
    read -r pid ticks_then boot_then began <"$dir/claim"
    if [ ! -e "$dir/end" ] && [ "$pid" != cancelled ]; then
        if is_alive "$pid" "$ticks_then" "$boot_then"; then
            echo "$id running - $began - $(($(wc -c <"$dir/log")))"
            return
        fi
        if [ ! -e "$dir/end" ]; then # it may have ended while we looked
            end_tree KILL 0
            finish -1
        fi
    fi
    code=-1 size=0 time=-
    if [ -e "$dir/end" ]; then
        read -r code size time <"$dir/end"
    elif [ -e "$dir/log" ]; then # there was no room for its end
        size=$(($(wc -c <"$dir/log")))
    fi
    case $pid:$code in
        cancelled:*) echo "$id cancelled $code - $time 0" ;;
        *:-1) echo "$id lost -1 $began $time $size" ;;
        *) echo "$id ended $code $began $time $size" ;;
    esac
}

show() {
    [ $# -gt 0 ] || set -- "$root"/*/
    for id in "$@"; do
        id=${id%/} id=${id##*/} dir=$root/$id
        show_one
    done
}

follow() { # FILE OFFSET: `cat` waits for the end of our input, that is of the connection
    exec 3<&0
    { cat <&3; kill $$; } >/dev/null 2>&1 &
    exec tail -c "+$(($2 + 1))" -f "$1" 3<&-
}

events() { # OFFSET
    mkdir -p "$root" && : >>"$root/events" || exit 1
    show | while read -r name state _; do
        [ "$state" != running ] || echo "1 running $name"
    done
    offset=$1
    [ "$offset" -le "$(wc -c <"$root/events")" ] || offset=0 # the file is another one
    echo "1 ready $offset"
    follow "$root/events" "$offset"
}

case $uid in '' | .* | *[!A-Za-z0-9._-]*) die 2 "bad uid: $uid" ;; esac
shift 2
case $command in
    start | cancel | run | log)
        case $id in '' | .* | *[!A-Za-z0-9._-]*) die 2 "bad unit: $id" ;; esac
        shift
        ;;
esac
case $command in
    start) start "$1" ;;
    run) run "$1" ;;
    cancel) cancel "$1" "$2" ;;
    show) show "$@" ;;
    events) events "$1" ;;
    log) follow "$dir/log" "$1" ;;
    *) die 2 "unknown command: $command" ;;
esac
