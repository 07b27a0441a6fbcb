package cosign_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/flawed"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/cosign"
)

const payload = `{"critical":{"identity":{"docker-reference":"registry.example/app"},"image":{"docker-manifest-digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},"type":"cosign container image signature"},"optional":{"a":"b"}}`

func TestPayload(t *testing.T) {
	t.Parallel()
	want := &cosign.Payload{Reference: "registry.example/app", Digest: sigbox.SHA256.Sum([]byte("hello")), Optional: []byte(`{"a":"b"}`)}
	got, err := cosign.ParsePayload([]byte(payload))
	if err != nil || !cmp.Equal(got, want) {
		t.Fatalf("found %+v, %v", got, err)
	}
	if out := cosign.AppendPayload([]byte("> "), got); string(out) != "> "+payload {
		t.Errorf("found %s", out)
	}
	plain := strings.Replace(payload, `{"a":"b"}`, "null", 1)
	if got, err = cosign.ParsePayload([]byte(plain)); err != nil || got.Optional != nil {
		t.Fatalf("found %+v, %v", got, err)
	}
	if out := cosign.AppendPayload(nil, got); string(out) != plain {
		t.Errorf("found %s", out)
	}
}

// TestPayloadRefused: what is critical and not known, and what has two readings.
func TestPayloadRefused(t *testing.T) {
	t.Parallel()
	flawed.TestJSON(t, func(b []byte) error { _, err := cosign.ParsePayload(b); return err }, payload,
		"/optional: an unknown member", "/optional/a: *")
	for name, in := range map[string]string{
		"another type":         strings.Replace(payload, "cosign container", "atomic container", 1),
		"no type":              strings.Replace(payload, `,"type":"cosign container image signature"`, "", 1),
		"digest in upper case": strings.Replace(payload, "2cf24d", "2CF24D", 1),
		"no digest":            strings.Replace(payload, `"docker-manifest-digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"`, "", 1),
		"short digest":         strings.Replace(payload, "2cf24d", "", 1),
		"unknown and critical": strings.Replace(payload, `"type"`, `"expires":1,"type"`, 1),
		"two digests":          strings.Replace(payload, `"type"`, `"image":{"docker-manifest-digest":"sha256:00"},"type"`, 1),
		"names in other case":  strings.Replace(payload, `"image"`, `"Image"`, 1),
		"twice in optional":    strings.Replace(payload, `"a":"b"`, `"a":"b","a":"c"`, 1),
		"optional is a list":   strings.Replace(payload, `{"a":"b"}`, `[]`, 1),
		"more behind":          payload + payload,
	} {
		if p, err := cosign.ParsePayload([]byte(in)); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %+v, %v", name, p, err)
		}
	}
	large := strings.Replace(payload, `"b"`, `"`+strings.Repeat("b", 256<<10)+`"`, 1)
	if _, err := cosign.ParsePayload([]byte(large)); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v", err)
	}
}

// FuzzParsePayload: what is read is the same when it is written and read again.
func FuzzParsePayload(f *testing.F) {
	f.Add([]byte(payload))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := cosign.ParsePayload(b)
		if err != nil {
			if k := sigbox.KindOf(err); p != nil || k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Fatalf("kind %v: %v", k, err)
			}
			return
		}
		once := cosign.AppendPayload(nil, p)
		again, err := cosign.ParsePayload(once)
		if err != nil || !bytes.Equal(once, cosign.AppendPayload(nil, again)) || !again.Digest.Equal(p.Digest) {
			t.Fatalf("%v: %s", err, once)
		}
	})
}

// annotations are those of a layer that holds what files hold.
func annotations(d cosign.Detached) map[string]string {
	return map[string]string{
		cosign.AnnotationSignature: string(d.Signature), cosign.AnnotationCertificate: string(d.Certificate),
		cosign.AnnotationBundle: string(d.Rekor), cosign.AnnotationTimestamp: string(d.Timestamp),
	}
}

// TestFromImage: signatures and attestations of images verify, and none is taken for
// the other.
func TestFromImage(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	o := sigboxtest.Options{Kind: "hashedrekord 0.0.1"}
	signature := sigboxtest.LegacyFiles(w.Sign([]byte(payload), o))
	b, err := cosign.FromImage(annotations(signature), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(verify.Bytes([]byte(payload)), b, ada()); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(verify.Bytes([]byte(payload+" ")), b, ada()); err == nil {
		t.Error("accepted for another payload")
	}

	o.Kind = "intoto 0.0.2"
	attestation := sigboxtest.LegacyFiles(w.Attest(statement, o))
	envelope := attestation.Signature
	b, err = cosign.FromImage(annotations(attestation), envelope)
	if err != nil {
		t.Fatal(err)
	}
	p := ada()
	p.PredicateTypes = []string{predicate}
	if _, err := v.Verify(verify.Bytes(artifact), b, p); err != nil {
		t.Error(err)
	}

	for name, c := range map[string]struct {
		annotations map[string]string
		envelope    []byte
	}{
		"no signature":                     {nil, nil},
		"an envelope as signature":         {annotations(attestation), nil},
		"a signature as envelope":          {annotations(signature), signature.Signature},
		"an empty envelope":                {annotations(attestation), []byte{}},
		"a certificate that is none":       {map[string]string{cosign.AnnotationSignature: "c2ln", cosign.AnnotationCertificate: "x"}, nil},
		"a log's promise that is none":     {map[string]string{cosign.AnnotationSignature: "c2ln", cosign.AnnotationBundle: "{}"}, nil},
		"a timestamp that is no timestamp": {map[string]string{cosign.AnnotationSignature: "c2ln", cosign.AnnotationTimestamp: "{}"}, nil},
	} {
		if b, err := cosign.FromImage(c.annotations, c.envelope); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %+v, %v", name, b, err)
		}
	}
}

// TestAnnotations: what is written for cosign is read as what it was.
func TestAnnotations(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := w.Sign([]byte(payload), sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
	b.Certificates = append(b.Certificates, b.Certificates[0]) // a chain
	written := cosign.Annotations(b)
	if want := annotations(sigboxtest.LegacyFiles(b)); written[cosign.AnnotationSignature] != want[cosign.AnnotationSignature] || written[cosign.AnnotationBundle] != want[cosign.AnnotationBundle] {
		t.Errorf("found %q, expected %q", written, want)
	}
	if !strings.HasPrefix(written[cosign.AnnotationChain], "-----BEGIN CERTIFICATE-----\n") || strings.Count(written[cosign.AnnotationCertificate], "BEGIN") != 1 {
		t.Errorf("found %q", written)
	}
	again, err := cosign.FromImage(written, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(verify.Bytes([]byte(payload)), again, ada()); err != nil {
		t.Error(err)
	}
	if len(again.Timestamps) != 1 || len(again.Entries) != 1 {
		t.Errorf("found %d timestamps and %d entries", len(again.Timestamps), len(again.Entries))
	}
	// A log of version 2 promises nothing, and an envelope is not in the annotations.
	attested := cosign.Annotations(w.Attest(statement, sigboxtest.Options{NoTimestamp: true}))
	if _, ok := attested[cosign.AnnotationBundle]; ok || attested[cosign.AnnotationSignature] != "" || attested[cosign.AnnotationTimestamp] != "" {
		t.Errorf("found %q", attested)
	}
}

// TestAppendBundle: what stood under a tag of cosign's verifies as a file, too.
func TestAppendBundle(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	p := ada()
	p.PredicateTypes = []string{predicate, sigbox.CosignSignPredicateType}
	signature := w.Sign([]byte(payload), sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
	attestation := w.Attest(statement, sigboxtest.Options{Kind: "intoto 0.0.2"})
	for _, c := range []struct {
		signed   *sigbox.Bundle
		envelope []byte
		artifact []byte
		policy   sigbox.Policy
	}{
		{signature, nil, []byte(payload), ada()},
		{attestation, sigboxtest.LegacyFiles(attestation).Signature, artifact, p},
	} {
		b, err := cosign.FromImage(cosign.Annotations(c.signed), c.envelope)
		if err != nil {
			t.Fatal(err)
		}
		file, err := cosign.AppendBundle(nil, b, c.envelope)
		if err != nil || !cosign.IsBundle(file) || bytes.ContainsRune(file, '\n') {
			t.Fatalf("found %s, %v", file, err)
		}
		again, err := cosign.ParseBundle(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(verify.Bytes(c.artifact), again, c.policy); err != nil {
			t.Error(err)
		}
		b.Entries = nil
		if _, err := cosign.AppendBundle(nil, b, c.envelope); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("without a log: found %v", err)
		}
	}
}
