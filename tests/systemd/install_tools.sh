#!/bin/sh
# What the `systemd` tier needs beside Python: Debian packages, installed as root. CI calls this before
# `pytest -m systemd`; without them the tier is skipped with the reason.
#   systemd            systemd-analyze, for tests/house/test_units.py
#   systemd-container  systemd-nspawn, which boots the guest
#   mmdebstrap         builds the guest's tree from the configured Debian mirror
#   util-linux         nsenter
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends systemd systemd-container mmdebstrap util-linux
