#!/bin/sh
# What repave does on a machine that it reaches over SSH: sh machine.sh VERB ROOT WORDS..., or sh -c with all of
# this, which REPAVE_SCRIPT holds as well then.
# Names and values arrive as words and stay words: nothing of them is ever evaluated.
# Exit codes of its own: 64 the command can't be run, 65 the package is broken, 73 the machine is not fit, 74 the disk, 75 somebody else's.
set -eu
export LC_ALL=C
umask 022
script=$0 verb=$1 root=$2 log_bytes_max=8388608
shift 2

fail() { # TEXT CODE
    echo "$1" >&2
    exit "$2"
}

room() { # says so when there is none
    df -P "$root" 2>/dev/null | awk 'NR == 2 && $4 < 256 { printf "No space left on device; " }'
}

started_at() { # of the process $1, in ticks since boot; nothing when it has ended
    line=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    line=${line##*) }
    # shellcheck disable=SC2086
    set -- $line
    [ "$1" = Z ] || [ "$1" = X ] || echo "${20}"
}

hundredths() { # of a second since the machine's boot
    read -r up _ </proc/uptime
    echo "${up%.*}${up#*.}"
}

is_known() { # HOST: sets the pid of its supervisor; not when that number is another's by now, as after a reboot
    [ -s "$root/hosts/$1/process" ] || return 1
    read -r pid since boot <"$root/hosts/$1/process" || return 1
    [ -z "$boot" ] || [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] || return 1
    present=$(started_at "$pid")
    [ -z "$present" ] || [ "$present" = "$since" ]
}

is_running() { # HOST
    is_known "$1" && [ -n "$present" ]
}

members() { # pids of all processes of the session $1
    for entry in /proc/[0-9]*; do
        line=$(cat "$entry/stat" 2>/dev/null) || continue
        line=${line##*) }
        # shellcheck disable=SC2086
        set -- "$1" $line
        [ "$5" = "$1" ] && [ "$2" != Z ] && echo "${entry#/proc/}"
    done
    return 0
}

on_path() { # WORD PATH
    rest=$2:
    while [ -n "$rest" ]; do
        candidate=${rest%%:*}
        candidate=${candidate:-.}/$1
        rest=${rest#*:}
        [ ! -f "$candidate" ] || [ ! -x "$candidate" ] || { echo "$candidate"; return; }
    done
    return 1
}

program_of() { # VARIABLES NAME=VALUE... COMMAND...: what is executed; the present folder is the package's
    path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin left=$1
    shift
    while [ "$left" -gt 0 ]; do
        case $1 in PATH=*) path=${1#PATH=} ;; esac
        shift
        left=$((left - 1))
    done
    case $1 in
    /*) inside= ;;
    *) inside=$PWD/$1 ;;
    esac
    if [ -n "$inside" ] && [ -f "$inside" ]; then
        [ -x "$inside" ] || fail "run: $1 is not executable. Do chmod +x on it and push the package again." 64
        echo "$inside"
        return
    fi
    case $1 in
    /*) [ -x "$1" ] && [ -f "$1" ] || fail "run: '$1' is not on this machine. Correct host.run, or install it." 64; echo "$1" ;;
    */*) fail "run: '$1' is not in the package. Correct host.run, or put it there." 64 ;;
    *) on_path "$1" "$path" || fail "run: '$1' is neither in the package nor on the host's PATH ($path). Put it into the package, install it there, or set env.PATH." 64 ;;
    esac
}

memory() { # makes a folder where no disk is, for this user alone; says where
    for base in /run /dev/shm; do
        case $(stat -f -c %T "$base" 2>/dev/null) in
        tmpfs | ramfs) (umask 077 && mktemp -d "$base/repave-secrets.XXXXXXXX" 2>/dev/null) && return 0 ;;
        esac
    done
    return 1
}

secrets_of() { # HOST: where they are; nothing when there are none
    folder=$(cat "$root/hosts/$1/memory" 2>/dev/null) || folder=
    case $folder in
    /*/repave-secrets.*) [ ! -d "$folder" ] || echo "$folder" ;;
    esac
}

forget_secrets() { # HOST
    gone=$(secrets_of "$1")
    [ -z "$gone" ] || rm -rf -- "$gone"
}

# In the process that becomes the command: env clears what it had, and no argument may hold a secret.
# shellcheck disable=SC2016
reveal='for _repave_file in "$0"/env/*; do [ -f "$_repave_file" ] || continue; _repave_value=$(cat "$_repave_file" && echo x) || exit 70; export "${_repave_file##*/}=${_repave_value%x}"; done; unset _repave_file _repave_value; exec "$@"'

become() { # SECRETS PROGRAM VARIABLES NAME=VALUE... COMMAND...: with these variables and the secrets in that folder, and none that are ours
    hidden=$1 program=$2 left=$3
    shift 3
    words=$(($# - left))
    while [ "$left" -gt 0 ]; do # the variables go behind the command
        set -- "$@" "$1"
        shift
        left=$((left - 1))
    done
    shift
    set -- "$program" "$@"
    if [ -n "$hidden" ]; then
        set -- /bin/sh -c "$reveal" "$hidden" "$@"
        words=$((words + 4))
    fi
    case $1 in
    *=*) # env would take it for a variable
        set -- /bin/sh -c 'exec "$0" "$@"' "$@"
        words=$((words + 3))
        ;;
    esac
    while [ "$words" -gt 0 ]; do # and the command behind the variables
        set -- "$@" "$1"
        shift
        words=$((words - 1))
    done
    exec env -i "$@"
}

case $verb in
take) # OWNER: leases the machine; says whose it is when it is somebody else's
    mkdir -p "$root" || fail "$(room)$root can't be made" 74
    # Written first, then linked: a lease is there with its owner's name in it, or not at all.
    mine=$(mktemp "$root/lease.XXXXXX") || fail "$(room)$root/lease can't be written" 74
    printf '%s\n' "$1" >"$mine" || { rm -f "$mine"; fail "$(room)$root/lease can't be written" 74; }
    ln "$mine" "$root/lease" 2>/dev/null || :
    rm -f "$mine"
    holder=$(cat "$root/lease" 2>/dev/null) || holder=
    [ -n "$holder" ] || fail "$(room)$root/lease can't be written, or is empty: then remove it" 74
    [ "$holder" = "$1" ] || fail "$holder" 75
    ;;
holder) # whose it is; nothing when it is free
    [ ! -e "$root/lease" ] || cat "$root/lease"
    ;;
used) # whether there is anything of a host
    if [ -e "$root/hosts" ]; then echo yes; else echo no; fi
    ;;
give) # OWNER
    [ "$(cat "$root/lease" 2>/dev/null)" != "$1" ] || rm -f "$root/lease"
    ;;
proof) # MARKER: the boot, and what stands in the marker
    cat /proc/sys/kernel/random/boot_id
    [ -z "$1" ] || head -c 200 -- "$1" 2>/dev/null || :
    ;;
unpack) # DIGEST FILE: modes are as repave_protos.package has them, whatever else the package says
    target=$root/packages/$1
    [ "$(sha256sum <"$2" | cut -d' ' -f1)" = "$1" ] || fail "what arrived has another SHA-256" 65
    if [ ! -e "$target" ]; then
        rm -rf "$target.part"
        mkdir -p "$target.part/app" || fail "$(room)$target.part can't be made" 74
        : >"$target.part/began"
        # -P: links are made at once, so that folders keep their times; the agent has seen where they lead.
        tar -xzPf "$2" -C "$target.part/app" --no-same-owner --delay-directory-restore || fail "$(room)the package can't be unpacked" 74
        cd "$target.part"
        find app -type d ! -perm -u+rwx -exec chmod u+rwx {} \;
        find app -type d -newer began -exec touch -d @0 {} + # the package says nothing of their times
        find app -type d -exec chmod 00555 {} +
        find app -type f -perm -u+x -exec chmod 0555 {} +
        find app -type f ! -perm -u+x -exec chmod 0444 {} +
        rm began
        mv "$target.part" "$target"
    fi
    rm -f "$2"
    ;;
date) # DIGEST RELEASED: files without a time that can be get that of their release, as in repave_protos.package
    cd "$root/packages/$1"
    released=$2
    [ "$released" -gt 0 ] || released=$(date +%s)
    touch -d @315619200 "early.$$"
    touch -d "@$released" "late.$$"
    find app \( ! -newer "early.$$" -o -newer "late.$$" \) -exec touch -h -d "@$released" {} +
    rm "early.$$" "late.$$"
    ;;
contents) # DIGEST: kind, mode, target and name of everything in the package; behind a blank line SHA-256 and name of files
    cd "$root/packages/$1/app"
    find . -mindepth 1 -printf '%y %m %l %P\n'
    echo
    find . -type f -print0 | xargs -0 -r sha256sum --
    ;;
memory) # HOST: a folder in memory for its secrets, written down before any of them is there
    mkdir -p "$root/hosts/$1" || fail "$(room)$root/hosts/$1 can't be made" 74
    forget_secrets "$1"
    folder=$(memory) || fail "neither /run nor /dev/shm is a file system in memory, and secrets are never written to a disk: mount a tmpfs at /dev/shm" 73
    printf '%s\n' "$folder" >"$root/hosts/$1/memory" || { rm -rf -- "$folder"; fail "$(room)$root/hosts/$1 can't be written" 74; }
    echo "$folder"
    ;;
start) # HOST DIGEST VARIABLES NAME=VALUE... COMMAND...
    host=$1 digest=$2 variables=$3
    shift 3
    home=$root/hosts/$host
    mkdir -p "$home" || fail "$(room)$home can't be made" 74
    if [ -n "${REPAVE_SCRIPT-}" ]; then
        script=$home/machine.sh
        printf '%s\n' "$REPAVE_SCRIPT" >"$script" || fail "$(room)$script can't be written" 74
        unset REPAVE_SCRIPT
    fi
    printf '#!/bin/sh\n' >"$home/trial" && chmod +x "$home/trial" || fail "$(room)$home/trial can't be written" 74
    "$home/trial" 2>/dev/null || fail "nothing can be executed in $root: is it mounted noexec? Remount it with exec, or set another root." 73
    rm -f "$home/trial"
    cd "$root/packages/$digest/app"
    # The supervisor is a service of its own where systemd runs, so that it outlives the session.
    set -- sh "$script" supervise "$root" "$host" "$digest" "$variables" "$@"
    if [ -d /run/systemd/system ]; then
        set -- systemd-run --quiet --collect --unit "repave-$host" -- "$@"
    else
        set -- setsid "$@"
    fi
    rm -f "$root/hosts/$host/ready" "$root/hosts/$host/exit"
    "$@" </dev/null >>"$root/hosts/$host/log" 2>&1 &
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        [ ! -e "$root/hosts/$host/ready" ] || break
        sleep 0.1
    done
    [ -e "$root/hosts/$host/ready" ] || fail "its supervisor did not start: $(tail -c 300 "$root/hosts/$host/log")" 74
    answer=$(cat "$root/hosts/$host/ready")
    [ "$answer" = ok ] || fail "$answer" 64
    ;;
supervise) # HOST DIGEST VARIABLES NAME=VALUE... COMMAND...: becomes the leader of the host's session
    host=$1 digest=$2 variables=$3
    shift 3
    home=$root/hosts/$host
    cd "$root/packages/$digest/app"
    trap '' TERM HUP INT
    exec >>"$home/log" 2>&1
    if ! program=$(program_of "$variables" "$@" 2>"$home/why"); then
        mv "$home/why" "$home/ready"
        exit 64
    fi
    echo "$$ $(started_at $$) $(cat /proc/sys/kernel/random/boot_id)" >"$home/process.part"
    mv "$home/process.part" "$home/process"
    echo ok >"$home/ready.part"
    mv "$home/ready.part" "$home/ready"
    (
        trap - TERM HUP INT
        become "$(secrets_of "$host")" "$program" "$variables" "$@"
    ) &
    child=$! code=0 began=$(hundredths)
    ( # Its writers append, so they go on at the start of the emptied file.
        trap - TERM HUP INT
        while sleep 5; do
            [ "$(wc -c <"$home/log")" -le "$log_bytes_max" ] || { tail -c 262144 "$home/log" >"$home/log.1"; : >"$home/log"; }
        done
    ) >/dev/null 2>&1 &
    trimmer=$!
    wait "$child" || code=$?
    kill "$trimmer" 2>/dev/null || :
    forget_secrets "$host"
    lasted=$(($(hundredths) - began))
    echo "$code $((lasted / 100)).$((lasted % 100 / 10))" >"$home/exit.part"
    mv "$home/exit.part" "$home/exit"
    ;;
state) # HOST
    if [ -s "$root/hosts/$1/exit" ]; then
        echo "exited $(cat "$root/hosts/$1/exit")"
    elif is_running "$1"; then
        echo running
    elif [ -s "$root/hosts/$1/process" ] && ! is_known "$1"; then
        echo rebooted
    elif [ -e "$root/hosts/$1" ]; then
        echo ended
    else
        echo absent
    fi
    ;;
listeners) # HOST: inodes of its processes' sockets; behind a blank line what listens on the machine
    if is_known "$1"; then
        for each in $(members "$pid"); do
            ls -l "/proc/$each/fd" 2>/dev/null || :
        done
    fi | sed -n 's/.*socket:\[\([0-9]*\)\].*/\1/p'
    echo
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || :
    ;;
await) # HOST: returns when its supervisor has ended
    ! is_running "$1" || tail --pid="$pid" -f /dev/null
    ;;
stop) # HOST GRACE_SECONDS: nothing of it runs afterwards
    host=$1
    if is_known "$host"; then
        ends_at=$(($(hundredths) + $2 * 100))
        left=$(members "$pid")
        for each in $left; do kill -TERM "$each" 2>/dev/null || :; done
        while left=$(members "$pid") && [ -n "$left" ] && [ "$(hundredths)" -lt "$ends_at" ]; do
            sleep 0.1 # and a look takes as long again where many processes run
        done
        for each in $left; do kill -KILL "$each" 2>/dev/null || :; done
        tenths=50
        while [ -n "$(members "$pid")" ]; do
            [ "$tenths" -gt 0 ] || fail "a process of $host does not end, not even by SIGKILL" 74
            sleep 0.1
            tenths=$((tenths - 1))
        done
    fi
    forget_secrets "$host"
    chmod -R u+w "$root/packages" 2>/dev/null || :
    rm -rf "$root/hosts/$host" "$root/packages" "$root/incoming"
    ;;
run) # HOST DIGEST VARIABLES NAME=VALUE... COMMAND...
    unset REPAVE_SCRIPT
    host=$1
    cd "$root/packages/$2/app"
    shift 2
    program=$(program_of "$@") || exit 119
    become "$(secrets_of "$host")" "$program" "$@" >/dev/null 2>&1 # only its exit code is asked for
    ;;
tail) # HOST LINES
    for part in log.1 log; do
        [ ! -e "$root/hosts/$1/$part" ] || tail -c 16384 "$root/hosts/$1/$part"
    done | tail -c 16384 | tail -n "$2"
    ;;
*)
    fail "machine.sh knows no verb $verb" 64
    ;;
esac
