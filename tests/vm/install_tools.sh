#!/bin/sh
# What the `vm` tier needs beside Python: Debian packages, installed as root. CI calls this before `pytest -m vm`;
# without them the tier is skipped with the reason.
#   qemu-system-x86   the machine; it emulates the processor, so no KVM is needed
#   mmdebstrap        unpacks the guest's kernel and Python from the Debian mirror, until they are in the cache
#   uidmap            lets mmdebstrap do that without root
#   util-linux        setpriv
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends qemu-system-x86 mmdebstrap uidmap util-linux
