#!/bin/sh
# The node's half of a sync: says what is there, and puts a staged tree into place.
#
#   apply.sh list KEY KIND TARGET                    prints what we put there earlier, and what `stat` says of it now;
#                                                    all but the first line goes through zstd if it is there and worth it
#   apply.sh apply KEY KIND TARGET GENERATION CODEC  reads a tar stream (see sync.py) and makes it so
#
# CODEC is plain, or zstd if `list` said that this node has it.
# KEY names the target's own state, ~/.skyflow/sync/KEY. KIND is d (the target is a folder) or f (a file in its folder).
# The state is what record.py writes: a file `list`, and a file `changes` that amends it. Each is replaced by rename, and
# begins with a line that has its generation as its third word and the bytes of its paths as its fifth. Those come next,
# each with ./ before it and NUL after it; the rest is opaque to this script.
# Needs POSIX sh and tar, xargs -0, stat -c, find as GNU, busybox and uutils have them. Names may hold anything but NUL.
#
# Exit codes: 0; 3: the list is another one by now, list again; 4: the stream was cut; 5: the reason is on stdout.
set -u
newline='
'

locate() { # KIND TARGET: sets root, the folder that all paths are relative to
  case $2 in
    '~') root=$HOME ;;
    '~/'*) root=$HOME/${2#'~/'} ;;
    /*) root=$2 ;;
    *) root=$HOME/sky_workdir/$2 ;;
  esac
  [ "$1" = d ] || root=${root%/*}
  root=${root:-/}
}

fail() { # REASON
  printf '%s\n' "$1"
  exit 5
}

try() { # COMMAND...: its own last words are the reason if it fails
  said=$("$@" 2>&1) || fail "$(printf '%s\n' "$said" | tail -n 1)"
}

each() { # LIST COMMAND...: runs the command on the paths of a list of the stage, in their order
  paths=$stage/$1
  shift
  [ ! -s "$paths" ] || try xargs -0 -r "$@" <"$paths"
}

print_list() {
  zstd=zstd
  command -v zstd >/dev/null || zstd=plain
  echo $zstd
  [ -f "$state/list" ] || exit 0
  read -r _ _ _ kind bytes _ <"$state/list"
  locate "$kind" "$target" # where that list says, which is elsewhere if the target was a file and is to be a folder
  if [ $zstd = zstd ] && [ "$bytes" -ge 65536 ]; then
    print_state | zstd -1qc
  else
    print_state
  fi
}

print_state() {
  cat -- "$state/list"
  if [ -f "$state/changes" ]; then cat -- "$state/changes"; else echo; fi
  cd -- "$root" 2>/dev/null || return 0
  look <"$state/list"
  [ ! -f "$state/changes" ] || look <"$state/changes"
  return 0
}

look() { # what stat says of the paths that it reads
  read -r _ _ _ _ bytes _
  # no path holds //, so that ends a name, whatever else is in it; a path that is gone is an error, and no line
  [ "$bytes" = 0 ] || head -c "$bytes" | xargs -0 -r stat -c '%f %s %Y %n//' -- 2>/dev/null
}

make_root() {
  [ -d "$root" ] || mkdir -p -- "$root" 2>/dev/null && return
  # outside of HOME, whoever may become root without a password makes it so
  if [ ! -e "$root" ] && sudo -n mkdir -p -- "$root" 2>/dev/null; then
    try sudo -n chown "$(id -u):$(id -g)" -- "$root"
    return
  fi
  try mkdir -p -- "$root"
}

is_alive() { # PID: of another process of this user; a zombie is none
  [ "$1" != "$$" ] && kill -0 "$1" 2>/dev/null && { [ ! -d /proc/self ] || [ -e "/proc/$1/exe" ]; }
}

# A stage must be on the target's file system, or nothing could be renamed into place. Its name ends in the id of its
# process, so that two syncs at a time do not meet, and one whose process is gone is known to be rubbish.
make_stage() {
  stage=$state/stage
  devices=$(stat -c %d -- "$root" "$state")
  [ "${devices%%"$newline"*}" = "${devices##*"$newline"}" ] || stage=${root%/}/.skyflow-stage-$key
  for old in "$stage".*; do
    [ ! -d "$old" ] || is_alive "${old##*.}" || rm -rf -- "$old"
  done
  stage=$stage.$$
  try mkdir -- "$stage"
  trap 'rm -rf -- "$stage"' EXIT
}

unpack() { # CODEC
  case $1 in
    zstd) said=$({ zstd -dcq | tar -xpof - -C "$stage"; } 2>&1) ;;
    *) said=$(tar -xpof - -C "$stage" 2>&1) ;;
  esac || fail "$(printf '%s\n' "$said" | head -n 1)" # the last words are about it all
  [ -f "$stage/end" ] || exit 4
}

# Every path below the root that the stage holds, by rename: at any moment it is the old one or the new one. What is not
# there yet goes as a whole.
switch() {
  [ ! -f "$stage/graft" ] || try in_stage -mindepth 1 -maxdepth 1 -exec sh "$0" graft "$there" {} +
  ! rmdir -- "$stage/tree" 2>/dev/null || return 0
  ! merge || return 0
  try in_stage -type d -exec sh "$0" clear-folders "$there" {} +
  try in_stage ! -type d -exec sh "$0" clear-files "$there" {} +
  ! merge || return 0
  try in_stage -type d -exec sh "$0" move "$there" {} +
}

merge() { # a link and a rename each, in one process; not where something of another kind is in the way
  case $(cp --version 2>/dev/null) in
    *GNU*) cp -RPlf -- "$stage/tree/." . 2>/dev/null ;;
    *) return 1 ;;
  esac
}

in_stage() { # ARGUMENTS of find
  (cd -- "$stage/tree" && find . "$@")
}

apply() { # GENERATION CODEC
  umask 077
  [ -d "$state" ] || try mkdir -p -- "$state"
  umask 022
  make_root
  make_stage
  unpack "$2"
  # One apply at a time; the kernel lets go of the lock if this dies. Where there is no flock (a busybox built without
  # it), syncs of different snapshots to one target in the same moment can mix.
  exec 9>"$state/lock"
  ! command -v flock >/dev/null || flock 9
  find_generation
  [ "$generation" = "$1" ] || exit 3
  cd -P -- "$root" || fail "cannot enter $root"
  there=$PWD
  # first of all: whatever happens from here on, it is known to be ours
  if [ -f "$stage/list" ]; then
    try mv -f -- "$stage/list" "$state/list"
  else
    try mv -f -- "$stage/before" "$state/changes"
  fi
  each unlock chmod u+rwx --
  each remove rm -f --
  [ ! -s "$stage/rmdir" ] || xargs -0 -r rmdir -- <"$stage/rmdir" 2>/dev/null || : # what is not ours keeps its folder
  switch
  for list in "$stage"/mode.*; do
    [ ! -f "$list" ] || each "${list##*/}" chmod "${list##*.}" --
  done
  try mv -f -- "$stage/changes" "$state/changes"
}

find_generation() { # of the list, or of the changes if they are this list's
  generation=none
  [ -f "$state/list" ] || return 0
  read -r _ _ generation _ <"$state/list"
  [ -f "$state/changes" ] || return 0
  read -r _ _ newer amended _ <"$state/changes"
  [ "$amended" != "$generation" ] || generation=$newer
}

case $1 in
  list | apply)
    verb=$1 key=$2 kind=$3 target=$4
    state=$HOME/.skyflow/sync/$key
    locate "$kind" "$target"
    case $verb in
      list) print_list ;;
      apply) apply "$5" "$6" ;;
    esac
    ;;
  graft) # THERE PATH...: what has nothing in its place
    there=$2
    shift 2
    for path; do
      shift
      [ -e "$there/$path" ] || [ -L "$there/$path" ] || set -- "$@" "$path"
    done
    [ $# = 0 ] || exec mv -f -- "$@" "$there/"
    ;;
  clear-folders) # THERE PATH...: whatever is in the place of a folder and is none
    there=$2
    shift 2
    for path; do
      [ -d "$there/$path" ] && [ ! -L "$there/$path" ] || rm -f -- "$there/$path" || exit 1
    done
    ;;
  clear-files) # THERE PATH...: a folder that is in the place of a file
    there=$2
    shift 2
    for path; do
      [ ! -d "$there/$path" ] || [ -L "$there/$path" ] || rmdir -- "$there/$path" 2>/dev/null || {
        echo "a file has to go where $there/${path#./} is, a folder with files that did not come from here; move them away"
        exit 1
      }
    done
    ;;
  move) # THERE FOLDER...: the files of these folders of the stage, by rename
    there=$2
    shift 2
    for path; do
      [ -d "$there/$path" ] || mkdir -- "$there/$path" || exit 1
      # shellcheck disable=SC2016
      find "$path" -mindepth 1 -maxdepth 1 ! -type d -exec sh -c 'exec mv -f -- "$@" "$0/"' "$there/$path" {} + || exit 1
    done
    ;;
esac
