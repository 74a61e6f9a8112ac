#!/usr/bin/env bash
# Install Debian's Slurm and munge for `make test-slurm`, without starting any daemon. Needs root and apt.
# DBD=1: the accounting daemon and its database too (the -core packages: a server that nothing starts by itself).
set -euo pipefail
packages=(munge slurmctld slurmd slurm-client)
[ "${DBD:-0}" = 1 ] && packages+=(slurmdbd mariadb-server-core mariadb-client-core)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || { echo "install.sh: not root; ask an administrator for: ${missing[*]}" >&2; exit 1; }

policy=/usr/sbin/policy-rc.d # Debian asks it before a package starts its daemon; 101 is "no"
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
