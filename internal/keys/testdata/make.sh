#!/bin/sh
# Makes the keys beside it with a real cosign (3.1.3) and openssl (3):
#
#	internal/keys/testdata/make.sh COSIGN
#
# They sign nothing but tests; the passphrase is hunter2. A key's name says who wrote
# it: openssl-ec.pem is what cosign-ec.key was imported from. Cosign before 2.0 wrote
# the same files as COSIGN that it now writes as SIGSTORE.
set -eu
cosign=$(realpath "$1")
cd "$(dirname "$0")"
export COSIGN_PASSWORD=hunter2 COSIGN_YES=true

openssl ecparam -name prime256v1 -genkey -out openssl-ec.pem
openssl genrsa -traditional -out openssl-rsa.pem 2048
openssl genpkey -algorithm ed25519 -out openssl-ed25519.pem
openssl rsa -in openssl-rsa.pem -aes128 -traditional -passout pass:hunter2 -out openssl-rsa-encrypted.pem
openssl pkcs8 -topk8 -in openssl-ec.pem -passout pass:hunter2 -out openssl-pkcs8-encrypted.pem

for kind in rsa ed25519; do
	"$cosign" import-key-pair --key openssl-$kind.pem --output-key-prefix cosign-$kind
done
# cosign does not pass over the block EC PARAMETERS.
openssl ec -in openssl-ec.pem -out bare.pem
"$cosign" import-key-pair --key bare.pem --output-key-prefix cosign-ec
rm bare.pem
"$cosign" generate-key-pair --output-key-prefix cosign
sed 's/SIGSTORE/COSIGN/' cosign.key >cosign-old.key
chmod 600 *.key *.pem
