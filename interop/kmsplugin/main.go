// Kmsplugin is a plugin of cosign's protocol made of Sigstore's own parts: what reads
// calls and writes answers, and what signs. Its keys are files, PEM of PKCS #8.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"os"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

func main() {
	args, err := handler.GetPluginArgs(os.Args)
	if err == nil && os.Args[1] != common.ProtocolVersion {
		err = fmt.Errorf("expected protocol %s, found %s", common.ProtocolVersion, os.Args[1])
	}
	if err != nil {
		_ = handler.WriteErrorResponse(os.Stdout, err)
		log.Fatal(err)
	}
	log.Print(args.MethodName) // plugins talk
	k := &key{path: args.InitOptions.KeyResourceID, hash: args.InitOptions.HashFunc}
	if err := k.open(); err != nil && args.MethodName != common.CreateKeyMethodName && args.MethodName != common.SupportedAlgorithmsMethodName {
		_ = handler.WriteErrorResponse(os.Stdout, err)
		log.Fatal(err)
	}
	if _, err := handler.Dispatch(os.Stdout, os.Stdin, args, k); err != nil {
		log.Fatal(err)
	}
}

// key signs as Sigstore's library does with a key of its kind.
type key struct {
	signature.SignerVerifier // nil before open
	path                     string
	hash                     crypto.Hash
}

func (k *key) open() error {
	b, err := os.ReadFile(k.path)
	if err != nil {
		return err
	}
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(b, cryptoutils.SkipPassword)
	if err != nil {
		return err
	}
	k.SignerVerifier, err = signature.LoadSignerVerifier(private, k.hash)
	return err
}

func (k *key) DefaultAlgorithm() string { return "ecdsa-p256-sha256" }
func (k *key) SupportedAlgorithms() []string {
	return []string{"ecdsa-p256-sha256", "ed25519", "rsa-2048"}
}

func (k *key) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, fmt.Errorf("not a part of the protocol")
}

func (k *key) CreateKey(_ context.Context, algorithm string) (crypto.PublicKey, error) {
	var private crypto.Signer
	var err error
	switch algorithm {
	case "ecdsa-p256-sha256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "rsa-2048":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		return nil, fmt.Errorf("no algorithm %q", algorithm)
	}
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(k.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		return nil, err
	}
	return private.Public(), file.Close()
}
