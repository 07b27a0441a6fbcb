package oci_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/manifest"
)

// legacyLayer is a layer under one of cosign's tags.
func legacyLayer(w *world, repo, mediaType string, content []byte, b *sigbox.Bundle) manifest.Descriptor {
	d := w.putBlob(repo, content)
	d.MediaType = mediaType
	if b == nil {
		return d
	}
	files := sigboxtest.LegacyFiles(b)
	d.Annotations = map[string]string{
		cosign.AnnotationSignature: string(files.Signature), cosign.AnnotationCertificate: string(files.Certificate),
		cosign.AnnotationBundle: string(files.Rekor), cosign.AnnotationTimestamp: string(files.Timestamp),
	}
	return d
}

// putLegacy puts layers under a tag of cosign's.
func putLegacy(w *world, repo string, of sigbox.Digest, suffix string, layers ...manifest.Descriptor) {
	config := w.putBlob(repo, []byte(`{"rootfs":{"type":"layers"}}`))
	config.MediaType = "application/vnd.oci.image.config.v1+json"
	w.putManifest(repo, "sha256-"+of.Hex()+suffix, &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeImage, Config: &config, Layers: layers})
}

func payloadOf(d sigbox.Digest) []byte {
	return cosign.AppendPayload(nil, &cosign.Payload{Reference: "app", Digest: d})
}

// TestLegacy: all signatures of both forms are found, bundles first, and each
// verifies as what it is.
func TestLegacy(t *testing.T) {
	t.Parallel()
	signers := sigboxtest.New(t)
	w, v := newWorld(t), verifier(t, signers)
	ref := w.putImage("app", "v1", "hello")
	payload := payloadOf(ref.Digest())
	old := sigboxtest.Options{Kind: "hashedrekord 0.0.1"}
	statement := signers.Attest(imageStatement(ref.Digest(), "https://example.com/p"), sigboxtest.Options{Kind: "intoto 0.0.2"})
	putLegacy(w, "app", ref.Digest(), ".sig",
		legacyLayer(w, "app", cosign.PayloadType, payload, signers.Sign(payload, old)),
		legacyLayer(w, "app", "text/plain", []byte("something else"), nil),
		legacyLayer(w, "app", cosign.PayloadType, payload, signers.Sign(payload, old)))
	putLegacy(w, "app", ref.Digest(), ".att", legacyLayer(w, "app", cosign.EnvelopeType, sigboxtest.LegacyFiles(statement).Signature, statement))
	putLegacy(w, "app", ref.Digest(), ".sbom", legacyLayer(w, "app", "text/spdx+json", []byte("{}"), nil))
	if _, err := client().AttachBundle(t.Context(), ref, signed(signers, ref.Digest()), nil); err != nil {
		t.Fatal(err)
	}

	c := client()
	var kinds []oci.Kind
	for _, a := range all(t, c, ref, oci.Query{Kinds: []oci.Kind{oci.Bundle, oci.Signature, oci.Attestation, oci.SBOM}}) {
		kinds = append(kinds, a.Kind)
		p := anybody()
		if a.Kind == oci.Attestation {
			if err := judge(v, a, p); err == nil {
				t.Error("an attestation counts as a signature")
			}
			p.PredicateTypes = []string{"https://example.com/p"}
		}
		if err := judge(v, a, p); (err == nil) != (a.Kind != oci.SBOM) {
			t.Errorf("%s: %v", a.Kind, err)
		}
	}
	if want := []oci.Kind{oci.Bundle, oci.Signature, oci.Signature, oci.Attestation, oci.SBOM}; !slices.Equal(kinds, want) {
		t.Errorf("found %v, expected %v", kinds, want)
	}
	before := c.Stats().Requests
	all(t, c, ref, oci.Query{})
	if after := c.Stats().Requests; after != before {
		t.Errorf("%d requests for what is known", after-before)
	}
}

// TestLegacyOfAnotherImage: a signature that was copied under the tag of another image
// is refused, before anybody verifies it.
func TestLegacyOfAnotherImage(t *testing.T) {
	t.Parallel()
	signers := sigboxtest.New(t)
	w := newWorld(t)
	ref, other := w.putImage("app", "v1", "hello"), w.putImage("app", "v2", "another")
	payload := payloadOf(other.Digest())
	putLegacy(w, "app", ref.Digest(), ".sig", legacyLayer(w, "app", cosign.PayloadType, payload, signers.Sign(payload, sigboxtest.Options{Kind: "hashedrekord 0.0.1"})))
	for _, a := range all(t, client(), ref, oci.Query{}) {
		if _, err := a.Bundle(); err == nil || sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("found %v", err)
		}
	}
}

// TestLongDigest: the tag that stands for the referrers API is cut, and what would be
// under tags that are too long is not asked for.
func TestLongDigest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withoutAPI)
	d := sigbox.SHA512.Sum([]byte("an image"))
	ref := w.ref("app", "@"+d.String())
	if found := all(t, client(), ref, oci.Query{}); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
	want := []string{"GET /v2/", "GET /v2/app/referrers/" + d.String(), "GET /v2/app/manifests/sha512-" + d.Hex()[:64]}
	if diff := cmp.Diff(want, w.log()); diff != "" {
		t.Error(diff)
	}
	err := client().AttachLegacy(t.Context(), ref, oci.Attestation, "", []byte("{}"), nil)
	if sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "128") {
		t.Errorf("found %v", err)
	}
	if asked := w.log(); len(asked) != 0 {
		t.Errorf("asked for %q", asked)
	}
}
