#!/usr/bin/env bash
# The whole loop on real files: starts a private Sigstore in an empty directory,
# signs without a key, records, verifies, and refuses a changed file. Everything
# lives in one temporary directory that is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/demo-lib.sh

step "1. A private Sigstore from an empty directory"
serve --data data --listen 127.0.0.1:0
cat serve.out
url=$(sed -n 's/^sigbox is ready at //p' serve.out)

step "2. Trust it, and say who you are"
show sigbox instance add demo "$url" --root data/root.json --yes
say 'export SIGSTORE_ID_TOKEN=$(sigbox token --data data --email you@example.com)'
SIGSTORE_ID_TOKEN=$(sigbox token --data data --email you@example.com)
export SIGSTORE_ID_TOKEN

step "3. Sign real files: the program itself, its licence, its manual"
mkdir release
cp "$source/bin/sigbox" "$source/LICENSE" "$source/README.md" release/
show sigbox sign --instance demo release

step "4. Verify them: who signed, vouched for by whom"
who=(--certificate-identity you@example.com --certificate-oidc-issuer "$url/oidc")
show sigbox verify --instance demo "${who[@]}" release

step "5. Change one byte, and it is refused"
printf 'x' >>release/LICENSE
refuse sigbox verify --instance demo "${who[@]}" release

step "6. Somebody else's signature is refused too"
refuse sigbox verify --instance demo --certificate-identity mallory@example.com --certificate-oidc-issuer "$url/oidc" release/README.md

step "7. What a bundle claims, before anyone trusts it"
show sigbox inspect release/README.md.sigstore.json

step "8. Killed without warning, it goes on where it was"
show kill -KILL "$server"
ended
serve --data data --listen "${url#http://}"
show curl -fsS "$url/api/v2/checkpoint"
show sigbox verify --instance demo "${who[@]}" release/README.md

step "That was the whole loop. What to try next:"
cat <<EOF
  bin/sigbox serve --data ./sigstore          an instance that stays; it prints how to use it
  bin/sigbox user add you@example.com --data ./sigstore
                                              then trust it as serve says, and sign without a token:
                                              the browser opens
  cosign initialize --mirror URL/tuf --root URL/root.json
                                              and cosign signs and verifies with it, unmodified
  bin/sigbox verify --help                    public-good bundles verify without any set-up
  make test                                   all tests, the foreign clients included
EOF
