package oci_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/manifest"
)

// TestDescribe: a tag is resolved by its headers, or by the manifest where they do
// not say all.
func TestDescribe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want := w.putImage("app", "v1", "hello")
	without := func(header string) func(http.ResponseWriter, *http.Request) bool {
		return func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodHead {
				return false
			}
			rec := httptest.NewRecorder()
			w.serve(rec, r)
			for k, v := range rec.Header() {
				if k != header {
					rw.Header()[k] = v
				}
			}
			rw.WriteHeader(rec.Code)
			return true
		}
	}
	another := func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			rw.Header().Set("Docker-Content-Digest", someDigest)
		}
		return false
	}
	for name, c := range map[string]struct {
		before func(http.ResponseWriter, *http.Request) bool
		by     string
		want   []string
	}{
		"by tag":                {nil, ":v1", []string{"HEAD manifests"}},
		"without digest":        {without("Docker-Content-Digest"), ":v1", []string{"HEAD manifests", "GET manifests"}},
		"without length":        {without("Content-Length"), ":v1", []string{"HEAD manifests", "GET manifests"}},
		"without type":          {without("Content-Type"), ":v1", []string{"HEAD manifests", "GET manifests"}},
		"without HEAD":          {failTimes("/manifests/v1", 1, http.StatusMethodNotAllowed), ":v1", []string{"HEAD manifests", "GET manifests"}},
		"by digest":             {nil, "@" + want.Digest().String(), []string{"HEAD manifests"}},
		"by digest, and a lie":  {without("Docker-Content-Digest"), "@" + want.Digest().String(), []string{"HEAD manifests", "GET manifests"}},
		"by a tag and a digest": {nil, ":none@" + want.Digest().String(), []string{"HEAD manifests"}},
	} {
		w.before = c.before
		w.log()
		reader := client()
		for range 2 {
			d, err := reader.Describe(t.Context(), w.ref("app", c.by))
			if err != nil || !d.Digest.Equal(want.Digest()) || d.MediaType != manifest.TypeImage || d.Size == 0 {
				t.Errorf("%s: found %+v, %v", name, d, err)
			}
		}
		if got := short(w.log())[1:]; !slices.Equal(got, c.want) {
			t.Errorf("%s: requests %q, expected %q", name, got, c.want)
		}
	}
	w.before = nil
	for _, by := range []string{":none", "@" + someDigest} {
		if _, err := client().Describe(t.Context(), w.ref("app", by)); sigbox.KindOf(err) != sigbox.NotFound {
			t.Errorf("%s: found %v", by, err)
		}
	}
	w.before = another // and the manifest is what it says
	if d, err := client().Describe(t.Context(), want); err != nil || !d.Digest.Equal(want.Digest()) {
		t.Errorf("found %+v, %v", d, err)
	}
}

// TestImages: an index with all that is listed in it, at every depth, each once.
func TestImages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	describe := func(ref oci.Reference) manifest.Descriptor {
		d, err := client().Describe(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	index := func(of ...oci.Reference) oci.Reference {
		m := &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex}
		for _, ref := range of {
			m.Manifests = append(m.Manifests, describe(ref))
		}
		return w.putManifest("app", "", m)
	}
	one, two := w.putImage("app", "", "1"), w.putImage("app", "", "2")
	inner := index(one, two)
	outer := index(inner, two, one)
	got, err := client().Images(t.Context(), outer)
	if err != nil || len(got) != 4 || !got[0].Digest.Equal(outer.Digest()) {
		t.Errorf("found %v, %v", got, err)
	}
	if got, err = client().Images(t.Context(), one); err != nil || len(got) != 1 {
		t.Errorf("found %v, %v", got, err)
	}
	if _, err := client(func(cfg *oci.Config) { cfg.Limits.Images = 3 }).Images(t.Context(), outer); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v", err)
	}
	deep := inner
	for range 6 {
		deep = index(deep)
	}
	if _, err := client().Images(t.Context(), deep); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v", err)
	}
	if _, err := client().Copy(t.Context(), deep, w.ref("copy", ":v1"), nil); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v", err)
	}
}

// TestConcurrentReaders: what many ask for at the same time is asked for once.
func TestConcurrentReaders(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 3)
	c := client()
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() {
			if good, errs := outcome(c, ref); good != 3 || len(errs) > 0 {
				t.Errorf("found %d, %v", good, errs)
			}
		})
	}
	g.Wait()
	if n := len(w.log()); n != 1+1+3+3+2 {
		t.Errorf("%d requests", n)
	}
	// One who gives up takes nobody along.
	w.before = func(http.ResponseWriter, *http.Request) bool { time.Sleep(time.Millisecond); return false }
	c = c.Renew()
	for i := range 8 {
		g.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if i%2 == 0 {
				cancel()
			}
			n := 0
			for _, err := range c.Attachments(ctx, ref, oci.Query{}) {
				if err == nil {
					n++
				}
			}
			if i%2 == 1 && n != 3 {
				t.Errorf("found %d", n)
			}
		})
	}
	g.Wait()
}

// TestAttachLegacy: what is attached under cosign's tags stays when others do so at the
// same time, and stands there once.
func TestAttachLegacy(t *testing.T) {
	t.Parallel()
	w, signers := newWorld(t), sigboxtest.New(t)
	ref := w.putImage("app", "v1", "hello")
	payload := payloadOf(ref.Digest())
	const writers = 8
	var all8 [writers]map[string]string
	for i := range all8 {
		all8[i] = cosign.Annotations(signers.Sign(payload, sigboxtest.Options{Kind: "hashedrekord 0.0.1"}))
	}
	var g sync.WaitGroup
	for _, annotations := range all8 {
		g.Go(func() {
			for range 2 {
				c := oci.New(oci.Config{Keychain: nobody{}, Settle: 300 * time.Millisecond})
				if err := c.AttachLegacy(context.Background(), ref, oci.Signature, "", payload, annotations); err != nil {
					t.Error(err)
				}
			}
		})
	}
	g.Wait()
	v := verifier(t, signers)
	got := all(t, client(), ref, oci.Query{})
	for _, a := range got {
		if err := judge(v, a, anybody()); err != nil {
			t.Error(err)
		}
	}
	if len(got) != writers {
		t.Errorf("found %d signatures of %d", len(got), writers)
	}

	statement := signers.Attest(imageStatement(ref.Digest(), "https://example.com/p"), sigboxtest.Options{Kind: "intoto 0.0.2"})
	if err := client().AttachLegacy(t.Context(), ref, oci.Attestation, "", sigboxtest.LegacyFiles(statement).Signature, cosign.Annotations(statement)); err != nil {
		t.Fatal(err)
	}
	p := anybody()
	p.PredicateTypes = []string{"https://example.com/p"}
	for _, a := range all(t, client(), ref, oci.Query{Kinds: []oci.Kind{oci.Attestation}}) {
		if err := judge(v, a, p); err != nil {
			t.Error(err)
		}
	}

	other := w.putImage("app", "v2", "another")
	for name, c := range map[string]struct {
		kind      oci.Kind
		mediaType string
		content   []byte
		want      sigbox.Kind
	}{
		"of another image":     {oci.Signature, "", payload, sigbox.NotVerified},
		"no payload":           {oci.Signature, "", []byte("{}"), sigbox.Invalid},
		"a bundle":             {oci.Bundle, "", payload, sigbox.Invalid},
		"an SBOM of no type":   {oci.SBOM, "", payload, sigbox.Invalid},
		"a signature of types": {oci.Signature, "text/plain", payload, sigbox.Invalid},
	} {
		if err := client().AttachLegacy(t.Context(), other, c.kind, c.mediaType, c.content, nil); err == nil || sigbox.KindOf(err) != c.want {
			t.Errorf("%s: found %v", name, err)
		}
	}
	// An index under the tag is left alone.
	d, err := client().Describe(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	w.putManifest("app", fmt.Sprintf("sha256-%s.sig", other.Digest().Hex()), &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex, Manifests: []manifest.Descriptor{d}})
	if err := client().AttachLegacy(t.Context(), other, oci.Signature, "", payloadOf(other.Digest()), nil); sigbox.KindOf(err) != sigbox.Conflict {
		t.Errorf("found %v", err)
	}
	if k := oci.Kind(99).String() + oci.Bundle.String() + oci.SBOM.String(); !strings.Contains(k, "unknown") {
		t.Errorf("found %s", k)
	}
}
