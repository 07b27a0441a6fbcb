#!/usr/bin/env bash
# The whole loop on real files: starts a private Sigstore in an empty directory,
# signs without a key, records, verifies, and refuses a changed file. Everything
# lives in one temporary directory that is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
server=
cleanup() {
	if [ -n "$server" ]; then
		kill -TERM "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

bold=; dim=; plain=
if [ -t 1 ]; then bold=$'\e[1m'; dim=$'\e[2m'; plain=$'\e[0m'; fi
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# show prints a command as one would type it, and runs it.
show() { printf '%s$ %s%s\n' "$dim" "${*//$work\//}" "$plain"; "$@"; }
# refuse runs a command that has to end with exit status 1: not verified.
refuse() {
	local status=0
	show "$@" || status=$?
	if [ "$status" -ne 1 ]; then
		echo "demo: expected exit status 1 (not verified), found $status" >&2
		exit 1
	fi
	printf '%s(exit status 1)%s\n' "$dim" "$plain"
}

step "Building sigbox"
show make --no-print-directory build
PATH=$PWD/bin:$PATH
# The demo's trust is its own; yours in \$HOME is not touched.
export SIGBOX_HOME=$work/home

step "1. A private Sigstore from an empty directory"
show sigbox serve --data "$work/data" --listen 127.0.0.1:0 >"$work/serve.out" 2>"$work/serve.log" &
server=$!
for _ in $(seq 100); do
	[ -S "$work/data/admin.sock" ] && grep -q instance "$work/serve.out" && break
	if ! kill -0 "$server" 2>/dev/null; then
		cat "$work/serve.out" "$work/serve.log" >&2
		exit 1
	fi
	sleep 0.1
done
cat "$work/serve.out"
url=$(sigbox status --data "$work/data" --output json | sed -n 's/.*"url": *"\([^"]*\)".*/\1/p' | head -n 1)

step "2. Trust it, and say who you are"
show sigbox instance add demo "$url" --root "$work/data/root.json" --yes
echo "${dim}\$ token=\$(sigbox token --data data --email you@example.com)${plain}"
token=$(sigbox token --data "$work/data" --email you@example.com)
export SIGSTORE_ID_TOKEN=$token

step "3. Sign real files: the program itself, its licence, its manual"
mkdir "$work/release"
cp bin/sigbox LICENSE README.md "$work/release/"
show sigbox sign --instance demo "$work/release"

step "4. Verify them: who signed, vouched for by whom"
who=(--certificate-identity you@example.com --certificate-oidc-issuer "$url/oidc")
show sigbox verify --instance demo "${who[@]}" "$work/release"

step "5. Change one byte, and it is refused"
printf 'x' >>"$work/release/LICENSE"
refuse sigbox verify --instance demo "${who[@]}" "$work/release"

step "6. Somebody else's signature is refused too"
refuse sigbox verify --instance demo --certificate-identity mallory@example.com --certificate-oidc-issuer "$url/oidc" "$work/release/README.md"

step "7. What a bundle claims, before anyone trusts it"
show sigbox inspect "$work/release/README.md.sigstore.json"

step "8. Killed without warning, it goes on where it was"
kill -KILL "$server"
wait "$server" 2>/dev/null || true
show sigbox serve --data "$work/data" --listen "${url#http://}" >"$work/serve.out" 2>>"$work/serve.log" &
server=$!
for _ in $(seq 100); do
	grep -q instance "$work/serve.out" && break
	sleep 0.1
done
show curl -fsS "$url/api/v2/checkpoint"
show sigbox verify --instance demo "${who[@]}" "$work/release/README.md"

step "That was the whole loop. What to try next:"
cat <<EOF
  bin/sigbox serve --data ./sigstore          an instance that stays; it prints how to use it
  bin/sigbox user add you@example.com --data ./sigstore
                                              then sign without --identity-token: the browser opens
  cosign initialize --mirror URL/tuf --root URL/root.json
                                              and cosign signs and verifies with it, unmodified
  bin/sigbox verify --help                    public-good bundles verify without any set-up
  make test                                   all tests, the foreign clients included
EOF
