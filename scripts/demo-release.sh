#!/usr/bin/env bash
# A small release as Kubernetes makes them: binaries, a source bundle, SBOMs,
# provenance and images in two architectures are built, signed, promoted to a second
# registry, and verified as their users would. Then somebody swaps an image and an SBOM
# and takes a signature away, and each is refused. Everything lives in one temporary
# directory that is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/demo-lib.sh

# crane makes images and serves registries. It is installed once, beside the other tools.
crane_version=v0.21.7
tools=$source/.cache/demo
if [ "$(cat "$tools/crane.stamp" 2>/dev/null)" != "$crane_version" ]; then
	step "Installing crane $crane_version, which makes images and serves registries"
	mkdir -p "$tools"
	GOBIN=$tools GOFLAGS=-mod=mod go install "github.com/google/go-containerregistry/cmd/crane@$crane_version"
	echo "$crane_version" >"$tools/crane.stamp"
fi
crane() { "$tools/crane" "$@" 2>>crane.log; }

registries=()
end_registries() {
	for pid in "${registries[@]}"; do
		kill -TERM "$pid" 2>/dev/null || true
	done
}
trap 'end_registries; cleanup' EXIT
# registry NAME starts one and sets NAME to its address.
registry() {
	local out=$1.registry addr=
	: >"$out" # for sed, which may be there before the registry
	"$tools/crane" registry serve --address 127.0.0.1:0 >"$out" 2>&1 &
	registries+=($!)
	disown $!
	for _ in $(seq 100); do
		addr=127.0.0.1:$(sed -n 's/.*serving on port //p' "$out")
		if [ "$addr" != 127.0.0.1: ] && curl -fsS "http://$addr/v2/" >/dev/null 2>&1; then
			printf -v "$1" %s "$addr"
			return
		fi
		sleep 0.1
	done
	echo "demo: a registry was not ready in 10 s" >&2
	exit 1
}

step "1. A private Sigstore, and two registries: where it is built, and where it is used"
serve --data data --listen 127.0.0.1:0
url=$(sed -n 's/^sigbox is ready at //p' serve.out)
registry staging
registry production
show sigbox instance add release "$url" --root data/root.json --yes
show sigbox instance use release
SIGSTORE_ID_TOKEN=$(sigbox token --data data --email release@example.com)
export SIGSTORE_ID_TOKEN
cat >policy.yaml <<EOF
identities:
  - subject: release@example.com
    issuer: $url/oidc
EOF
cat >provenance.yaml <<EOF
identities:
  - subject: release@example.com
    issuer: $url/oidc
predicateTypes:
  - https://slsa.dev/provenance/v1
conditions:
  - predicate.buildDefinition.externalParameters.version == "v1"
EOF
cat >sbom.yaml <<EOF
identities:
  - subject: release@example.com
    issuer: $url/oidc
predicateTypes:
  - https://spdx.dev/Document
EOF
show cat policy.yaml provenance.yaml

step "2. Build: binaries for two architectures, the source, an image of each, one name for both"
mkdir -p app release
cat >app/main.go <<'EOF'
// Command app greets.
package main

import "fmt"

func main() { fmt.Println("hello from a release") }
EOF
printf 'module example.com/app\n\ngo 1.24\n' >app/go.mod
now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
for arch in amd64 arm64; do
	(cd app && GOOS=linux GOARCH=$arch CGO_ENABLED=0 go build -trimpath -o "../release/app-linux-$arch" .)
	tar -cf "layer-$arch.tar" -C release "app-linux-$arch"
	crane append -f "layer-$arch.tar" -t "$staging/acme/app:v1-$arch" >/dev/null
	crane mutate --set-platform "linux/$arch" --entrypoint "/app-linux-$arch" -t "$staging/acme/app:v1-$arch" "$staging/acme/app:v1-$arch" >/dev/null
done
crane index append -m "$staging/acme/app:v1-amd64" -m "$staging/acme/app:v1-arm64" -t "$staging/acme/app:v1" >/dev/null
tar -czf release/app-source.tar.gz app
for file in app-linux-amd64 app-linux-arm64 app-source.tar.gz; do
	sum=$(sha256sum "release/$file" | cut -d' ' -f1)
	cat >"release/$file.spdx.json" <<EOF
{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"$file","documentNamespace":"https://example.com/spdx/$sum","creationInfo":{"created":"$now","creators":["Tool: demo-release"]},"packages":[{"SPDXID":"SPDXRef-app","name":"app","downloadLocation":"NOASSERTION","versionInfo":"v1","checksums":[{"algorithm":"SHA256","checksumValue":"$sum"}]}]}
EOF
done
cat >provenance.json <<EOF
{"buildDefinition":{"buildType":"https://example.com/demo-release/v1","externalParameters":{"version":"v1"}},"runDetails":{"builder":{"id":"$url/oidc#release@example.com"},"metadata":{"finishedOn":"$now"}}}
EOF
ls release

step "3. Sign all of it with one login: files, and each image of the index"
show sigbox sign release
show sigbox attest --predicate provenance.json --type slsaprovenance1 release/app-linux-amd64 release/app-linux-arm64 release/app-source.tar.gz
show sigbox sign --recursive "$staging/acme/app:v1"
show sigbox attest --recursive --predicate provenance.json --type slsaprovenance1 "$staging/acme/app:v1"
for arch in amd64 arm64; do
	show sigbox attest --sbom "release/app-linux-$arch.spdx.json" "$staging/acme/app:v1-$arch"
done

step "4. Promote: the images go to the second registry with all that belongs to them"
show sigbox copy "$staging/acme/app:v1" "$production/acme/app:v1"
show sigbox tree "$production/acme/app:v1"

step "5. Verify it as somebody who downloads it, and as a cluster that runs it"
show sigbox verify --policy policy.yaml release
show sigbox verify --policy provenance.yaml release/app-linux-amd64
show sigbox verify --policy policy.yaml --recursive "$production/acme/app:v1"
show sigbox verify --policy provenance.yaml --recursive "$production/acme/app:v1"
amd64=$(crane digest --platform linux/amd64 "$production/acme/app:v1")
say sigbox sbom --policy sbom.yaml "$production/acme/app@$amd64"
sigbox sbom --policy sbom.yaml "$production/acme/app@$amd64" >verified.spdx.json
cmp verified.spdx.json release/app-linux-amd64.spdx.json

step "6. Somebody swaps the image: the tag leads to another one"
printf 'evil' >evil
tar -cf evil.tar evil
crane append -f evil.tar -t "$production/acme/app:v1" >/dev/null
refuse sigbox verify --policy policy.yaml "$production/acme/app:v1"

step "7. Somebody swaps an SBOM"
sed 's/"versionInfo":"v1"/"versionInfo":"v2"/' release/app-linux-amd64.spdx.json >swapped.json
cp -r release swapped
cp swapped.json swapped/app-linux-amd64.spdx.json
refuse sigbox verify --policy policy.yaml swapped
crane copy "$production/acme/app@$amd64" "$production/acme/other:v1" >/dev/null
say "sigbox attest --sbom swapped.json $production/acme/other:v1   # as mallory@example.com"
SIGSTORE_ID_TOKEN=$(sigbox token --data data --email mallory@example.com) sigbox attest --sbom swapped.json "$production/acme/other:v1"
refuse sigbox sbom --policy sbom.yaml "$production/acme/other:v1"

step "8. A release with one signature missing"
cp -r release missing
rm missing/app-linux-arm64.sigstore.json
refuse sigbox verify --policy policy.yaml missing

step "Nothing that was changed has passed."
