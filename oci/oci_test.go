package oci_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/cosign"
)

// imageStatement is how an image is signed today.
func imageStatement(d sigbox.Digest, predicateType string) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, d.Hex(), predicateType)
}

func signed(w *sigboxtest.World, d sigbox.Digest) []byte {
	return sigboxtest.File(w.Attest(imageStatement(d, sigbox.CosignSignPredicateType), sigboxtest.Options{}))
}

// anybody accepts what anybody signed.
func anybody() sigbox.Policy {
	return sigbox.Policy{Identities: []sigbox.IdentityMatch{{SubjectRegexp: ".*", IssuerRegexp: ".*"}}}
}

func verifier(t testing.TB, w *sigboxtest.World) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// judge verifies an attachment as the package says.
func judge(v *verify.Verifier, a *oci.Attachment, p sigbox.Policy) error {
	b, err := a.Bundle()
	if err != nil {
		return err
	}
	artifact := verify.Digest(a.Subject.Digest())
	if a.Kind == oci.Signature {
		artifact = verify.Bytes(a.Content)
	}
	_, err = v.Verify(artifact, b, p)
	return err
}

// TestAttachAndVerify: what is attached is found and verifies, with and without the
// referrers API, at the price that was promised.
func TestAttachAndVerify(t *testing.T) {
	t.Parallel()
	signers := sigboxtest.New(t)
	for name, c := range map[string]struct {
		options []func(*world)
		want    []string // paths, with the digests left out
	}{
		"API":         {nil, []string{"GET /v2/", "GET referrers", "GET manifests", "GET blobs"}},
		"filters":     {[]func(*world){filtering}, []string{"GET /v2/", "GET referrers", "GET manifests", "GET blobs"}},
		"without API": {[]func(*world){withoutAPI}, []string{"GET /v2/", "GET referrers", "GET manifests", "GET manifests", "GET blobs"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.options...)
			ref := w.putImage("app", "v1", "hello")
			if _, err := client().AttachBundle(t.Context(), w.ref("app", ":v1"), signed(signers, ref.Digest()), map[string]string{"by": "ada"}); err != nil {
				t.Fatal(err)
			}
			w.log()
			reader, v := client(), verifier(t, signers)
			for range 2 {
				var found []*oci.Attachment
				for a, err := range reader.Attachments(t.Context(), ref, oci.Query{}) {
					if err != nil {
						t.Fatal(err)
					}
					found = append(found, a)
					if err := judge(v, a, anybody()); err != nil {
						t.Fatal(err)
					}
					break
				}
				want := map[string]string{"by": "ada", "dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": sigbox.CosignSignPredicateType}
				if len(found) != 1 || found[0].Kind != oci.Bundle || !cmp.Equal(found[0].Annotations, want) {
					t.Fatalf("found %+v", found)
				}
			}
			if got := short(w.log()); !slices.Equal(got, c.want) {
				t.Errorf("requests: %q, expected %q", got, c.want)
			}
			if s := reader.Stats(); s.Requests != int64(len(c.want)) || s.Pings != 1 || s.Retries != 0 || s.Read == 0 {
				t.Errorf("found %+v", s)
			}
			reader = reader.Renew()
			all(t, reader, ref, oci.Query{Kinds: []oci.Kind{oci.Bundle}})
			if got := short(w.log()); !slices.Equal(got, c.want[1:]) && len(got) != len(c.want) {
				t.Errorf("requests after Renew: %q, expected %q", got, c.want[1:])
			}
		})
	}
}

// short leaves out repositories and digests.
func short(requests []string) []string {
	var out []string
	for _, r := range requests {
		method, path, _ := strings.Cut(r, " ")
		for _, part := range []string{"referrers", "manifests", "blobs"} {
			if strings.Contains(path, "/"+part+"/") {
				path = part
			}
		}
		out = append(out, method+" "+path)
	}
	return out
}

// TestAttachTwice: to attach again changes nothing.
func TestAttachTwice(t *testing.T) {
	t.Parallel()
	signers := sigboxtest.New(t)
	for name, options := range map[string][]func(*world){"API": nil, "without API": {withoutAPI}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, options...)
			ref := w.putImage("app", "v1", "hello")
			one, two := signed(signers, ref.Digest()), signed(signers, ref.Digest())
			for _, b := range [][]byte{one, one, two, one} {
				c := client()
				if _, err := c.AttachBundle(t.Context(), ref, b, nil); err != nil {
					t.Fatal(err)
				}
				if got := all(t, c, ref, oci.Query{}); !slices.ContainsFunc(got, func(a *oci.Attachment) bool { return bytes.Equal(a.Content, b) }) {
					t.Errorf("what was attached is not found by who attached it")
				}
			}
			if got := all(t, client(), ref, oci.Query{}); len(got) != 2 {
				t.Errorf("found %d attachments, expected 2", len(got))
			}
		})
	}
}

// TestRepository: signatures in a repository of their own, also of another registry.
func TestRepository(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]func(*world){"API": nil, "tags": {withoutAPI}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			images, w, signers := newWorld(t), newWorld(t, options...), sigboxtest.New(t)
			ref := images.putImage("app", "v1", "hello")
			there := func(cfg *oci.Config) { cfg.Repository = w.ref("signatures", ":ignored") }
			d, err := client(there).AttachBundle(t.Context(), images.ref("app", ":v1"), signed(signers, ref.Digest()), nil)
			if err != nil {
				t.Fatal(err)
			}
			if at, want := client(there).AttachedAt(ref, d.Digest).String(), w.ref("signatures", "@"+d.Digest.String()).String(); at != want {
				t.Errorf("it is said to be at %s, expected %s", at, want)
			}
			payload := payloadOf(ref.Digest())
			annotations := cosign.Annotations(signers.Sign(payload, sigboxtest.Options{Kind: "hashedrekord 0.0.1"}))
			if err := client(there).AttachLegacy(t.Context(), images.ref("app", ":v1"), oci.Signature, "", payload, annotations); err != nil {
				t.Fatal(err)
			}
			if got := all(t, client(), ref, oci.Query{}); len(got) != 0 {
				t.Errorf("beside the image: %d", len(got))
			}
			v := verifier(t, signers)
			got := all(t, client(there), images.ref("app", ":v1"), oci.Query{})
			for _, a := range got {
				if err := judge(v, a, anybody()); err != nil {
					t.Error(err)
				}
			}
			if len(got) != 2 {
				t.Errorf("found %d attachments", len(got))
			}
			c, target := client(there), newWorld(t, options...)
			tree, err := c.Tree(t.Context(), ref)
			if err != nil || len(tree.Attached) != 2 {
				t.Fatalf("found %+v, %v", tree, err)
			}
			for _, n := range tree.Attached {
				for a, err := range c.Contents(t.Context(), ref, n) {
					if err != nil || judge(v, a, anybody()) != nil {
						t.Errorf("%s: %v", n.Digest, err)
					}
				}
			}
			for what, to := range map[string]oci.Place{
				"another registry": target.ref("app", ":v1"), "another repository": images.ref("other", ":v1"),
				"the same repository": images.ref("app", ":v2"), "a directory": oci.Layout{Dir: t.TempDir()},
			} {
				if _, err := c.Copy(t.Context(), ref, to, nil); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if err := c.Compare(t.Context(), ref, to); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				tree, err := client().Tree(t.Context(), to) // without that repository
				if err != nil || len(tree.Attached) != 2 {
					t.Errorf("%s: found %+v, %v", what, tree, err)
				}
			}
		})
	}
}
