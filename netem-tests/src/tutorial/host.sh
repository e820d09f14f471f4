# The first process of a host: a network and a process table of its own, and this machine's files, to which
# nothing that is written here gets. The host ends with the input of this script, and everything in it.
set -e
exec 3>&1 >&2
folder=$1 programs=$2 name=$3 user=$4 sources=$5
# Stays behind on this machine otherwise.
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
cd "$folder/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mkdir -p opt/rapidpath usr/src/rapidpath .machine
mount --bind "$programs" opt/rapidpath
mount --bind -o ro "$sources" usr/src/rapidpath
pivot_root . .machine
umount -l /.machine
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -m 1777 /run/lock
mount -t tmpfs -o mode=700 tmpfs /root
mount -t tmpfs tmpfs /home
for program in rpserver rpclient rpcp; do
    ln -sf "/opt/rapidpath/$program" "/usr/local/bin/$program"
done
hostname "$name"
ip link set lo up
cat >/etc/resolv.conf </dev/null
rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/*proxy*
id "$user" >/dev/null 2>&1 || useradd --shell /bin/bash "$user"
mkdir -p -m 755 "/home/$user"
mkdir -p "/run/user/$user"
chmod 700 "/run/user/$user"
chown "$user:" "/home/$user" "/run/user/$user"
usermod --home "/home/$user" "$user"
if [ -d /etc/sudoers.d ]; then
    echo "$user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/tutorial
    chmod 440 /etc/sudoers.d/tutorial
fi
echo ready >&3
# A shell, because it takes leave of processes whose parents have ended.
while read -r _; do :; done
