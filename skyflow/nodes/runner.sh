#!/bin/sh
# The job runner of a node: starts units of work once, ends them, and tells what became of them.
#
#   runner.sh UID start ID SIZE       reads a script of SIZE bytes; prints started, exists or cancelled
#   runner.sh UID cancel ID GRACE CODE   ends it and all that it started (GRACE: tenths of a second until SIGKILL);
#                                     records CODE unless it had ended; if it never started, it never will
#   runner.sh UID show [ID...]        a line each: ID STATE CODE START END SIZE (times in epoch seconds, - if unknown)
#   runner.sh UID events OFFSET       what runs now, then the events file from a byte on, until its input is closed
#   runner.sh UID log ID OFFSET       the log from a byte on, until its input is closed
#   runner.sh UID lease SECONDS COMMAND  so long without a unit, a user's session and a call of this file, and the node
#                                     switches itself off: by COMMAND, or by the system's own means if that is empty;
#                                     `none` instead of SECONDS: never
#   runner.sh UID sessions            seconds since a user was last seen to be logged in; 0 is now, - is never
#   runner.sh UID contact             nothing; but every call tells the node that it is looked after
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
# What belongs to the node and not to one life of a cluster is in ~/.skyflow/lease:
#   lease    `SECONDS COMMAND`; without it the node stays on
#   contact  the uptime at the last call
#   guard    `PID TICKS BOOT` of the process that watches over the lease. It counts by the uptime, because clocks jump; it
#            begins anew after a reboot (with the next call) and after a time in which it did not run, so both are contact
#   session  `UPTIME BOOT` when a user was last seen
#   ours/PID.TICKS  an sshd process that a call came through: it is not a user's
# SKYFLOW_BOOT_ID in the environment stands for the kernel's boot id (on nodes that share a kernel, and for tests).
# SKYFLOW_SESSIONS is for a node whose SSH server is not OpenSSH's: a folder with a file for each session of a user.
# SKYFLOW_LEASE_LOOK and SKYFLOW_UPTIME, for tests: seconds between two looks at the lease; instead of /proc/uptime.

boot=${SKYFLOW_BOOT_ID:-}
[ -n "$boot" ] || read -r boot </proc/sys/kernel/random/boot_id || boot=unknown
mask=$(umask)
umask 077
uid=$1 command=$2 id=${3-}
root=$HOME/.skyflow/jobs/$uid
dir=$root/$id
lease=$HOME/.skyflow/lease
look=${SKYFLOW_LEASE_LOOK:-30}
clock=${SKYFLOW_UPTIME:-/proc/uptime}

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

put() { # FILE TEXT: whoever reads it sees the old or the new text; false if it cannot be written
    printf '%s\n' "$2" 2>/dev/null >"$1.$$" && [ -s "$1.$$" ] && mv -f "$1.$$" "$1" && return
    rm -f "$1.$$"
    return 1
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

process() { # PID: sets `ticks`, the time it began, `parent` and `name`; false if there is none (a zombie is none)
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    name=${stat#*\(} name=${name%)*}
    set -- "$1" - ${stat##*) } # now $3 is the third field of proc(5), and so on
    parent=$4 ticks=${22}
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
    # Handled rather than ignored: what is ignored here is ignored by the unit too. PIPE: whoever asked may be gone when
    # it is told `started`, and the unit is to run all the same.
    trap : HUP INT PIPE
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

uptime() { read -r up _ <"$clock" && up=${up%.*}; }

note_call() { # that there is one, and whose connection it came through. Must not fail: the disk may be full
    [ -d "$lease/ours" ] || mkdir -p "$lease/ours" 2>/dev/null || return 0
    { read -r told _ <"$clock" && echo "$told" >"$lease/contact"; } 2>/dev/null
    pid=$PPID name=
    while process "$pid"; do
        case $name in sshd*) break ;; esac
        pid=$parent name=
    done
    mark=$lease/ours/$pid.$ticks
    case $name in
        sshd*) if [ ! -e "$mark" ]; then forget_ours && { : >"$mark"; } 2>/dev/null; fi ;;
    esac
    ensure_guard
}

forget_ours() { # connections that are closed
    for old in "$lease"/ours/*; do
        pid=${old##*/} began=${old##*.}
        if ! process "${pid%.*}" || [ "$ticks" != "$began" ]; then rm -f "$old"; fi
    done
}

is_user_there() { # somebody who is logged in, be it for a shell, a command, files or a forwarded port
    if [ -n "${SKYFLOW_SESSIONS-}" ]; then
        set -- "$SKYFLOW_SESSIONS"/*
        [ -e "$1" ]
        return
    fi
    for entry in /proc/[0-9]*; do
        { read -r name <"$entry/comm"; } 2>/dev/null || continue
        case $name in sshd*) ;; *) continue ;; esac
        title=
        { read -r title <"$entry/cmdline"; } 2>/dev/null
        case $title in
            *'['*) continue ;; # the listener, and whoever has not logged in: `[priv]`, `[net]`, `[accepted]`
            'sshd: '* | 'sshd-session: '*) ;;
            *) continue ;;
        esac
        pid=${entry#/proc/}
        if process "$pid" && [ ! -e "$lease/ours/$pid.$ticks" ]; then return 0; fi
    done
    return 1
}

is_unit_there() { # one that runs, of whatever life of the cluster
    for claim in "$HOME"/.skyflow/jobs/*/*/claim; do
        if [ -e "${claim%claim}end" ] || ! { read -r pid began boot_then _ <"$claim"; } 2>/dev/null; then continue; fi
        if is_alive "$pid" "$began" "$boot_then"; then return 0; fi
    done
    return 1
}

ensure_guard() {
    [ -e "$lease/lease" ] || return 0
    pid=0 began='' boot_then=''
    if [ -e "$lease/guard" ]; then read -r pid began boot_then <"$lease/guard"; fi
    if ! is_alive "$pid" "$began" "$boot_then"; then
        : "$(own_session sh "$0" "$uid" guard &)" # waits until it has a session of its own, and so outlives ours
    fi
}

guard() { # until the lease is taken away, or another guard has taken over: two that start at once find out here
    exec </dev/null >/dev/null 2>&1
    process $$
    me="$$ $ticks $boot"
    put "$lease/guard" "$me" || exit 1
    PATH=$PATH:/usr/sbin:/sbin
    uptime
    last=$up looked=$up heard=
    while [ -e "$lease/lease" ]; do
        seconds='' power_off='' holder=''
        { read -r seconds power_off <"$lease/lease"; read -r holder <"$lease/guard"; } 2>/dev/null
        [ "$holder" = "$me" ] || exit 0
        uptime
        if [ $((up - looked)) -gt 180 ]; then last=$up; fi # the machine was suspended
        looked=$up
        if is_unit_there; then last=$up; fi
        if is_user_there; then
            last=$up
            put "$lease/session" "$up $boot"
        fi
        told=
        { read -r told <"$lease/contact"; } 2>/dev/null
        if [ "$told" != "$heard" ]; then last=$up heard=$told; fi
        case $seconds in
            '' | *[!0-9]*) ;; # damaged: whoever tells it anew decides
            *) if [ $((up - last)) -gt "$seconds" ]; then power_off "$power_off"; fi ;;
        esac
        sleep "$look"
    done
}

power_off() { # COMMAND. If nothing helps, it is tried again at the next look
    if [ -n "$1" ]; then
        sh -c "$1"
        return
    fi
    for how in poweroff 'systemctl poweroff' 'shutdown -h now' 'halt -p'; do
        if $how || sudo -n $how; then return; fi
    done
}

set_lease() { # SECONDS COMMAND
    case $1 in
        none) rm -f "$lease/lease" && return ;;
        '' | *[!0-9]*) die 2 "bad lease: $1" ;;
    esac
    mkdir -p "$lease" || exit 1
    put "$lease/lease" "$1 $2" || die 1 "cannot write $lease/lease"
    ensure_guard
}

sessions() {
    if is_user_there; then
        echo 0
        return
    fi
    seen='' boot_then=''
    if [ -e "$lease/session" ]; then read -r seen boot_then <"$lease/session"; fi
    uptime
    if [ -n "$seen" ] && [ "$boot_then" = "$boot" ]; then
        echo $((up > seen ? up - seen : 1))
    else
        echo -
    fi
}

case $uid in '' | .* | *[!A-Za-z0-9._-]*) die 2 "bad uid: $uid" ;; esac
shift 2
case $command in
    start | cancel | run | log)
        case $id in '' | .* | *[!A-Za-z0-9._-]*) die 2 "bad unit: $id" ;; esac
        shift
        ;;
esac
case $command in run | guard) ;; *) note_call ;; esac
case $command in
    start) start "$1" ;;
    run) run "$1" ;;
    cancel) cancel "$1" "$2" ;;
    show) show "$@" ;;
    events) events "$1" ;;
    log) follow "$dir/log" "$1" ;;
    lease) set_lease "$1" "${2-}" ;;
    guard) guard ;;
    sessions) sessions ;;
    contact) ;;
    *) die 2 "unknown command: $command" ;;
esac
