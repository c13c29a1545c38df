#!/bin/sh
# Installs imgmirror as a service of systemd: the program in its own environment, the units, a user, a configuration. Run it
# as root from a checkout: `make install PUBLIC_URL=https://img.example.org`. It can be repeated: an upgrade replaces the
# program and the units, and keeps the configuration.
set -eu
cd "$(dirname "$0")/.."
prefix=/opt/imgmirror
public_url=${PUBLIC_URL:?"say under which address visitors reach the mirror: PUBLIC_URL=https://img.example.org"}

${PYTHON:-python3} -m venv "$prefix"
"$prefix/bin/python" -m pip --disable-pip-version-check -q install --require-hashes -r requirements.lock
"$prefix/bin/python" -m pip --disable-pip-version-check -q install --no-deps --no-build-isolation --force-reinstall .
ln -sf "$prefix/bin/imgmirror" /usr/local/bin/imgmirror

install -D -m 644 deploy/systemd/imgmirror.sysusers.conf /usr/lib/sysusers.d/imgmirror.conf
install -D -m 644 deploy/systemd/imgmirror.tmpfiles.conf /usr/lib/tmpfiles.d/imgmirror.conf
install -D -m 644 deploy/systemd/imgmirror.service /etc/systemd/system/imgmirror.service
install -D -m 644 deploy/systemd/imgmirror.socket /etc/systemd/system/imgmirror.socket
systemd-sysusers imgmirror.conf

if [ ! -e /etc/imgmirror/config.toml ]; then
  umask 077
  install -d -m 750 /etc/imgmirror
  secret() { "$prefix/bin/python" -c 'import secrets; print(secrets.token_hex(32))'; }
  sed -e "s|@PUBLIC_URL@|$public_url|" -e "s|@TOKEN@|$(secret)|" -e "s|@KEY@|$(secret)|" deploy/config.toml \
    >/etc/imgmirror/config.toml
fi
systemd-tmpfiles --create imgmirror.conf
systemctl daemon-reload
"$prefix/bin/imgmirror" doctor --offline --config /etc/imgmirror/config.toml
