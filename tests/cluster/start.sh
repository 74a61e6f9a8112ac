#!/usr/bin/env bash
# Start a real Slurm of several nodes on this machine: slurmctld, one slurmd a node and munged, on loopback alone, without
# systemd, as root or as an ordinary user. Everything (configuration, keys, state, logs, pids, sockets, database) is below
# $CLUSTER_DIR; /etc is not touched. Called again, it starts only what does not run: a killed node, a stopped controller.
#
#     CLUSTER_DIR=/tmp/try tests/cluster/start.sh && export SLURM_CONF=/tmp/try/slurm.conf
#     sinfo; sbatch --wrap hostname; squeue
#     CLUSTER_DIR=/tmp/try tests/cluster/stop.sh
#
# Two partitions: main (default), and scavenge, whose jobs are preempted by main's. Knobs, environment variables too:
#   NODES=4 CPUS_PER_NODE=2 MEM_PER_NODE=4000 (MB) GPUS_PER_NODE=2   what the nodes claim to have; at most 6 GPUs
#   PORT_BASE=17000       ports PORT_BASE+1 to PORT_BASE+4 and PORT_BASE+101 onwards, one a node
#   MAX_ARRAY_SIZE=1001   an array index must be below it
#   KILL_WAIT=5           seconds from SIGTERM to SIGKILL
#   CRED_EXPIRE=5         seconds that a requeued job waits, at least, before it may start again; below 5 Slurm takes 120
#   PREEMPT_SIGNAL=0|1    1: a preempted job gets the signal of its --signal first
#   CGROUP=auto|0|1       1: cgroups hold processes and memory; auto: where this user may write cgroup v1
#   DBD=0|1               1: with slurmdbd and MariaDB, account `lab` of this user
#   ENFORCE=associations,limits,qos   with DBD=1: what of the accounts is checked
#   EXTRA_CONF            lines appended to slurm.conf; a key given twice counts the second time
#   INSTALL=1             as root: install missing Debian packages first (install.sh)
set -euo pipefail
D=${CLUSTER_DIR:?the folder of the cluster}
NODES=${NODES:-4} CPUS_PER_NODE=${CPUS_PER_NODE:-2} MEM_PER_NODE=${MEM_PER_NODE:-4000} GPUS_PER_NODE=${GPUS_PER_NODE:-2}
PORT_BASE=${PORT_BASE:-17000} MAX_ARRAY_SIZE=${MAX_ARRAY_SIZE:-1001} KILL_WAIT=${KILL_WAIT:-5}
CRED_EXPIRE=${CRED_EXPIRE:-5} PREEMPT_SIGNAL=${PREEMPT_SIGNAL:-0} CGROUP=${CGROUP:-auto} DBD=${DBD:-0}
ENFORCE=${ENFORCE-associations,limits,qos} EXTRA_CONF=${EXTRA_CONF:-}
HERE=$(cd "$(dirname "$0")" && pwd) ME=$(id -un) HOST=$(hostname -s)
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C SLURM_CONF=$D/slurm.conf
umask 022

# ---- helpers ----
die() { echo "start.sh: $*" >&2; exit 1; }
alive() { # pidfile name; a zombie is dead: not every machine has an init that reaps
  local pid
  pid=$(tr -dc 0-9 2>/dev/null <"$1") && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] &&
    ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status"
}
wait_for() { # seconds what command...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || die "$what did not come up; see $D/log"
    sleep 0.1
  done
}
sql() { mariadb --no-defaults --socket="$D/run/mysql.sock" -u root -e "$1"; }

# ---- programs ----
[ "${INSTALL:-0}" != 1 ] || DBD=$DBD "$HERE/install.sh"
programs=(munged slurmctld slurmd sbatch)
[ "$DBD" = 0 ] || programs+=(slurmdbd mariadbd mariadb)
for program in "${programs[@]}"; do
  command -v "$program" >/dev/null || die "$program is missing; INSTALL=1 installs Debian's packages as root"
done

[ "$GPUS_PER_NODE" -le 6 ] || die "GPUS_PER_NODE=$GPUS_PER_NODE is not accepted; expected 6 at most"

# ---- configuration ----
mkdir -p "$D"/{log,run,state,spool,munge}
if [ "$CGROUP" = auto ]; then
  CGROUP=1
  for controller in freezer memory cpuset; do [ -w "/sys/fs/cgroup/$controller/cgroup.procs" ] || CGROUP=0; done
fi
# Without cgroups process groups, not linuxproc: that loses a program which a batch script starts without srun
track=proctrack/pgid task=task/none
[ "$CGROUP" = 0 ] || track=proctrack/cgroup task=task/cgroup
gres=
[ "$GPUS_PER_NODE" = 0 ] || gres="Gres=gpu:$GPUS_PER_NODE"
if [ "$DBD" = 1 ]; then # AuthInfo's socket does not count for connections to slurmdbd; AccountingStoragePass does
  accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((PORT_BASE + 3))
AccountingStorageUser=$ME
AccountingStoragePass=$D/munge/socket
AccountingStorageEnforce=$ENFORCE
JobAcctGatherType=jobacct_gather/linux"
else
  accounting=$'AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none'
fi
# NoInAddrAny: loopback only. config_overrides: nodes may claim more than the machine has. ReturnToService: a node that
# comes back after a crash is used again. The names of nodes name their cgroups: two clusters must not share them.
cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=$ME
SlurmdUser=$ME
SlurmctldPort=$((PORT_BASE + 1))
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket=$D/munge/socket,cred_expire=$CRED_EXPIRE
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd.%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.%n.log
MailProg=/bin/true
MpiDefault=none
ProctrackType=$track
TaskPlugin=$task
SlurmdParameters=config_overrides
$([ "$PREEMPT_SIGNAL" = 0 ] || echo SlurmctldParameters=preempt_send_user_signal)
ReturnToService=2
SlurmdTimeout=20
KillWait=$KILL_WAIT
MaxArraySize=$MAX_ARRAY_SIZE
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
$([ -z "$gres" ] || echo GresTypes=gpu)
$accounting
NodeName=t$PORT_BASE-[1-$NODES] NodeHostname=$HOST NodeAddr=127.0.0.1 Port=[$((PORT_BASE + 101))-$((PORT_BASE + 100 + NODES))] CPUs=$CPUS_PER_NODE RealMemory=$MEM_PER_NODE $gres State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefMemPerCPU=1000 DefaultTime=10 MaxTime=60 PriorityTier=10 PreemptMode=OFF
PartitionName=scavenge Nodes=ALL DefMemPerCPU=1000 DefaultTime=10 MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
$EXTRA_CONF
CONF
# a GPU must be a character device, else CUDA_VISIBLE_DEVICES stays unset; these are everywhere, and nobody is kept out
rm -f "$D/gres.conf"
for device in $(printf '%s\n' null zero full random urandom tty | head -n "$GPUS_PER_NODE"); do
  echo "Name=gpu File=/dev/$device" >>"$D/gres.conf"
done
printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainRAMSpace=yes\nConstrainSwapSpace=no\n' >"$D/cgroup.conf"

# ---- munge: who asks ----
[ -s "$D/munge/key" ] || (umask 077 && head -c 128 /dev/urandom >"$D/munge/key")
if ! alive "$D/run/munged.pid" munged; then # --force: below /tmp, which others may write to
  munged --force --key-file="$D/munge/key" --socket="$D/munge/socket" --pid-file="$D/run/munged.pid" \
    --log-file="$D/log/munged.log" --seed-file="$D/munge/seed" 2>>"$D/log/munged.log"
  wait_for 10 munged munge -n --socket="$D/munge/socket"
fi

# ---- accounting ----
if [ "$DBD" = 1 ]; then
  if ! alive "$D/run/mariadbd.pid" mariadbd; then
    [ -d "$D/mysql/mysql" ] || mariadb-install-db --no-defaults --user="$ME" --datadir="$D/mysql" --skip-test-db \
      --auth-root-authentication-method=normal >"$D/log/mariadb-install.log" 2>&1 || die "mariadb-install-db; see $D/log"
    setsid mariadbd --no-defaults --user="$ME" --datadir="$D/mysql" --socket="$D/run/mysql.sock" --skip-log-bin \
      --pid-file="$D/run/mariadbd.pid" --bind-address=127.0.0.1 --port=$((PORT_BASE + 4)) \
      --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 \
      --log-error="$D/log/mariadbd.log" </dev/null >/dev/null 2>&1 &
    wait_for 60 mariadbd sql 'select 1'
    sql "create database if not exists slurm_acct_db; create user if not exists slurm@localhost identified by 'slurm';
      create user if not exists slurm@127.0.0.1 identified by 'slurm';
      grant all on slurm_acct_db.* to slurm@localhost; grant all on slurm_acct_db.* to slurm@127.0.0.1;"
  fi
  (umask 077 && cat >"$D/slurmdbd.conf" <<CONF) # slurmdbd refuses a file that others can read
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT_BASE + 3))
SlurmUser=$ME
AuthType=auth/munge
AuthInfo=socket=$D/munge/socket
CommunicationParameters=NoInAddrAny
PidFile=$D/run/slurmdbd.pid
LogFile=$D/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((PORT_BASE + 4))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
  if ! alive "$D/run/slurmdbd.pid" slurmdbd; then
    slurmdbd
    wait_for 60 slurmdbd timeout 5 sacctmgr -n show cluster
    sacctmgr -iQ add cluster test >/dev/null || true # there already, as below, where the database was kept
    sacctmgr -iQ add account lab cluster=test Description=lab Organization=lab >/dev/null || true
    sacctmgr -iQ add user "$ME" account=lab cluster=test >/dev/null || true
    sacctmgr -nP show assoc cluster=test user="$ME" account=lab format=user | grep -q . || die "no account lab"
  fi
fi

# ---- controller and nodes ----
if ! alive "$D/run/slurmctld.pid" slurmctld; then
  slurmctld -f "$SLURM_CONF"
fi
wait_for 30 slurmctld sh -c 'timeout 5 scontrol ping | grep -q "is UP"'
for ((i = 1; i <= NODES; i++)); do
  node=t$PORT_BASE-$i
  alive "$D/run/slurmd.$node.pid" slurmd || slurmd -f "$SLURM_CONF" -N "$node"
done
ready() { [ "$(sinfo -hN -p main -o %T | grep -cxE 'idle|mixed|allocated|completing')" = "$NODES" ]; }
wait_for 60 nodes ready
