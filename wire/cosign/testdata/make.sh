#!/bin/sh
# Makes the files beside it with a real cosign and an instance of sigbox:
#
#	wire/cosign/testdata/make.sh COSIGN SIGBOX
#
# COSIGN is cosign 3.1.3, SIGBOX the command of this module. Every run makes other
# keys and signatures. No secret is kept.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cosign=$(realpath "$1")
sigbox=$(realpath "$2")
work=$(mktemp -d)
export HOME="$work" TUF_ROOT="$work/tuf" COSIGN_PASSWORD=hunter2 COSIGN_YES=true
at=127.0.0.1:$((20000 + $$ % 20000))

"$sigbox" serve --data "$work/data" --listen "$at" >"$work/serve.log" 2>&1 &
serve=$!
trap 'kill $serve; rm -rf "$work"' EXIT
tries=0
until curl -fs "http://$at/readyz" >"$work/ready"; do
	tries=$((tries + 1))
	[ $tries -lt 100 ]
	sleep 0.1
done

cd "$work"
printf 'an artifact\n' >artifact
printf '{"answer":42}\n' >predicate.json

# By key, without any service.
"$cosign" generate-key-pair --output-key-prefix key
offline="--key key.key --use-signing-config=false --new-bundle-format=false --tlog-upload=false"
"$cosign" sign-blob $offline --output-signature key.sig --bundle key.bundle artifact
"$cosign" sign-blob $offline --b64=false --output-signature key.raw.sig artifact
"$cosign" attest-blob $offline --predicate predicate.json --type https://example.com/predicate \
	--output-signature key.att --bundle key.att.bundle artifact

# By certificate. The instance has a log of Rekor v2, so that the old bundle has an
# entry without promise.
"$cosign" initialize --mirror "http://$at/tuf" --root "http://$at/root.json"
online="--new-bundle-format=false --identity-token $("$sigbox" token --data data --email ada@example.com)"
"$cosign" sign-blob $online --bundle v2.bundle \
	--output-signature cert.sig --output-certificate cert.pem.b64 --rfc3161-timestamp cert.tsr.json artifact
base64 -d cert.pem.b64 >cert.pem
cp tuf/*/targets/trusted_root.json .

chmod 644 key.* cert.* v2.bundle
rm key.key
cp artifact key.* cert.* v2.bundle trusted_root.json "$here"
