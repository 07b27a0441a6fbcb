package main

import (
	"bytes"
	"context"
	"encoding/pem"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
)

// isDetachedName reports whether a file is called like a signature, or the certificate
// to one, of a file that is there.
func isDetachedName(path string, there func(string) bool) bool {
	for _, suffix := range [...]string{signatureSuffix, ".pem", ".cert", ".crt"} {
		if a, ok := cutSuffix(path, suffix); ok && there(a) {
			return true
		}
	}
	return false
}

// belongs reports whether a file that was found among others is what its name says: a
// bundle, or a signature of the artifact, whoever made it, or the certificate to one.
// Any bytes may be called a signature, and text may stand around a certificate: what
// does not verify is a file like any other. The keys are those of signatures without
// certificate.
func belongs(ctx context.Context, path string, keys []sigbox.PublicKey) (artifact string, ok bool) {
	artifact, v, ok := evidenceIn(path)
	switch {
	case !ok || v.signature == "":
		return artifact, ok
	case v.certificate != "" && isOnlyCertificates(v.certificate) && v.fits(ctx, artifact, nil):
		return artifact, true
	case path == v.certificate || len(keys) == 0:
		return "", false
	}
	return artifact, evidence{signature: v.signature}.fits(ctx, artifact, keys)
}

// fits reports whether a detached signature is over the artifact, by its certificate's
// key or one of those given. Nothing is said of who that is.
func (v evidence) fits(ctx context.Context, artifact string, keys []sigbox.PublicKey) bool {
	found, err := v.read()
	if err != nil {
		return false
	}
	bare := *found[0].Bundle
	if len(bare.Certificates) > 0 {
		leaf, err := sigbox.ParseCertificate(bare.Certificates[0])
		if err != nil {
			return false
		}
		keys = []sigbox.PublicKey{{Key: leaf.RawSubjectPublicKeyInfo}}
	}
	bare.Certificates, bare.Entries, bare.Timestamps = nil, nil, nil
	verifier, err := verify.New(verify.Config{})
	if err != nil {
		return false
	}
	f, err := openRegular(artifact)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read
	policy := sigbox.Policy{Keys: keys, PredicateTypes: []string{sigbox.AnyPredicateType}}
	_, err = verifier.VerifyAll(verify.Reader(readerWith(ctx, f)), []*sigbox.Bundle{&bare}, policy)
	return err == nil
}

// isOnlyCertificates reports whether a file has certificates in PEM, with nothing
// around them, or no PEM. Of a chain only the first is looked at later.
func isOnlyCertificates(path string) bool {
	text, err := readFile(path, maxSignatureFile)
	if err != nil {
		return false
	}
	begin := []byte("-----BEGIN ")
	if text = bytes.TrimSpace(text); !bytes.Contains(text, begin) {
		return true
	}
	for len(text) > 0 {
		block, rest := pem.Decode(text)
		if block == nil || !bytes.HasPrefix(text, begin) || len(block.Headers) > 0 {
			return false
		}
		if _, err := sigbox.ParseCertificate(block.Bytes); err != nil {
			return false
		}
		text = bytes.TrimSpace(rest)
	}
	return true
}
