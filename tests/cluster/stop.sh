#!/usr/bin/env bash
# Cancel the jobs of the cluster below $CLUSTER_DIR and end what start.sh started, and only that: a process is ours if it
# has the name that belongs to its pid file and $CLUSTER_DIR in its command or environment. --wipe: remove the folder too.
set -uo pipefail
D=${CLUSTER_DIR:?the folder of the cluster}
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C SLURM_CONF=$D/slurm.conf
ours() { # pid name
  [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] &&
    cat "/proc/$1/cmdline" "/proc/$1/environ" 2>/dev/null | tr '\0' '\n' | grep -qF "$D/"
}
stop() { # name pidfile...
  local name=$1 file pid i
  shift
  for file in "$@"; do
    [ -s "$file" ] || continue
    pid=$(tr -dc 0-9 <"$file")
    for ((i = 0; i < 100; i++)); do
      ours "$pid" "$name" || break
      [ $i -gt 0 ] || kill -TERM "$pid"
      sleep 0.1
    done
    if ours "$pid" "$name"; then kill -KILL "$pid"; fi
    rm -f "$file"
  done
}
if [ -s "$D/run/slurmctld.pid" ] && ours "$(tr -dc 0-9 <"$D/run/slurmctld.pid")" slurmctld; then
  scancel -Q -u "$(id -un)"
  for ((i = 0; i < 100; i++)); do [ -n "$(squeue -h 2>/dev/null)" ] || break; sleep 0.1; done
fi
# jobs that nobody could cancel, as the controller was gone
for folder in /proc/[0-9]*; do
  { environment=$(tr '\0' '\n' <"$folder/environ"); } 2>/dev/null || continue
  grep -qxF "SLURM_CONF=$SLURM_CONF" <<<"$environment" || continue
  if [ "$(cat "$folder/comm" 2>/dev/null)" = slurmstepd ] || grep -q '^SLURM_JOB_ID=' <<<"$environment"; then
    kill -KILL "${folder#/proc/}" 2>/dev/null
  fi
done
stop slurmd "$D"/run/slurmd.*.pid
stop slurmctld "$D/run/slurmctld.pid"
stop slurmdbd "$D/run/slurmdbd.pid"
stop mariadbd "$D/run/mariadbd.pid"
stop munged "$D/run/munged.pid"
if [ -s "$SLURM_CONF" ]; then # the nodes' cgroups, which nobody else removes
  nodes=$(sed -n 's/^NodeName=\(t[0-9]*\)-.*/\1/p' "$SLURM_CONF")
  find /sys/fs/cgroup -depth -type d -path "/sys/fs/cgroup/*/slurm_$nodes-*" -exec rmdir {} + 2>/dev/null
fi
if [ "${1:-}" = --wipe ] && [ -s "$SLURM_CONF" ]; then rm -rf -- "$D"; fi # nothing that start.sh has not made
