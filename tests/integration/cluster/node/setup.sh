# Runs first in the node's own namespaces: $1 is its directory, $2 its address.
set -e

# What containerd, the kubelet and their helpers keep in places that cannot be chosen is none of the machine's business.
# The last is an overlay, since somebody's home may be there.
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir "$1/var-lib" "$1/var-lib-work"
mount -t overlay -o "lowerdir=/var/lib,upperdir=$1/var-lib,workdir=$1/var-lib-work" overlay /var/lib

# The kubelet sets these for the whole machine; here it sets a copy.
for setting in vm/overcommit_memory kernel/panic kernel/panic_on_oops; do
  copy="$1/$(basename "$setting")"
  cat "/proc/sys/$setting" > "$copy"
  mount --bind "$copy" "/proc/sys/$setting"
done

# An address that Pods can reach. The default route leads nowhere; without one, kube-proxy takes no address for the node's.
ip link set lo up
ip link add keyrota0 type bridge
ip address add "$2/24" dev keyrota0
ip link set keyrota0 up
ip route add default via "${2%.*}.254" dev keyrota0

# Where the control groups of all Pods are, so that they can be found and removed. In version 1 there is a tree for each
# controller, and a new group of cpuset has no processors.
group="$(basename "$1")"
for tree in /sys/fs/cgroup /sys/fs/cgroup/*/; do
  [ -e "$tree/cgroup.procs" ] || continue
  [ -e /sys/fs/cgroup/cgroup.controllers ] && [ "$tree" != /sys/fs/cgroup ] && continue
  mkdir -p "$tree/$group"
  for file in cpuset.cpus cpuset.mems; do
    [ -e "$tree/tasks" ] && [ -e "$tree/$file" ] && cat "$tree/$file" > "$tree/$group/$file"
  done
done
exit 0
