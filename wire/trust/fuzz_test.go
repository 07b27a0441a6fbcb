package trust

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sigbox/sigbox"
)

// FuzzParseRoot: what is read is JSON, also to encoding/json, and what is written
// again is read the same.
func FuzzParseRoot(f *testing.F) {
	for _, m := range []string{MediaTypeRootV01, MediaTypeRootV02} {
		b, err := AppendRoot(nil, root(m))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ParseRoot(in)
		if err != nil {
			return
		}
		if !json.Valid(in) {
			t.Fatal("encoding/json reads it not")
		}
		r.MediaType = MediaTypeRootV02 // in which nothing is left out
		out, err := AppendRoot(nil, r)
		if err != nil {
			return // a root with logs of unknown algorithms
		}
		again, err := ParseRoot(out)
		if err != nil {
			t.Fatalf("written but not read: %v\n%s", err, out)
		}
		trimURLs(r)
		if diff := cmp.Diff(r, again, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}

// trimURLs does what writing does.
func trimURLs(r *sigbox.TrustedRoot) {
	for _, logs := range [][]sigbox.TransparencyLog{r.Logs, r.CTLogs} {
		for i := range logs {
			logs[i].BaseURL = strings.TrimRight(logs[i].BaseURL, "/")
		}
	}
	for _, cas := range [][]sigbox.CertificateAuthority{r.CertificateAuthorities, r.TimestampAuthorities} {
		for i := range cas {
			cas[i].URI = strings.TrimRight(cas[i].URI, "/")
		}
	}
}

// FuzzParseRoots: a file is one root, or each line that is not empty is one.
func FuzzParseRoots(f *testing.F) {
	one := `{"mediaType":"` + MediaTypeRootV01 + `"}`
	f.Add([]byte(one))
	f.Add([]byte("\n" + one + "\r\n \n" + one))
	f.Add([]byte(one + "\n{}"))
	f.Add([]byte(strings.Replace(one, "{", "{\n", 1)))
	f.Fuzz(func(t *testing.T, in []byte) {
		roots, err := ParseRoots(in)
		if err != nil {
			return
		}
		if whole, err := ParseRoot(in); err == nil {
			if diff := cmp.Diff([]*sigbox.TrustedRoot{whole}, roots); diff != "" {
				t.Error(diff)
			}
			return
		}
		for line := range bytes.Lines(in) {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			r, err := ParseRoot(line)
			if err != nil || len(roots) == 0 || !cmp.Equal(r, roots[0]) {
				t.Fatalf("the line %s is another root: %v", line, err)
			}
			roots = roots[1:]
		}
		if len(roots) > 0 {
			t.Fatalf("%d more roots than lines", len(roots))
		}
	})
}

// FuzzParseSigningConfig: what is read is JSON, also to encoding/json, and what is
// written again is read the same.
func FuzzParseSigningConfig(f *testing.F) {
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogUrls":[{"url":"https://log.example","majorApiVersion":2,"validFor":{"start":"2026-01-01T00:00:00Z"},"operator":"example"}],"rekorTlogConfig":{"selector":"EXACT","count":1}}`))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","tsaUrls":[{"url":"https://tsa.example/","majorApiVersion":1}],"tsaConfig":{"selector":"ANY"}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := ParseSigningConfig(in)
		if err != nil {
			return
		}
		if !json.Valid(in) {
			t.Fatal("encoding/json reads it not")
		}
		out, err := AppendSigningConfig(nil, c)
		if err != nil {
			return // a service of version 0: not released yet
		}
		again, err := ParseSigningConfig(out)
		if err != nil {
			t.Fatalf("written but not read: %v\n%s", err, out)
		}
		for _, s := range []*sigbox.Selector{&c.LogSelector, &c.TSASelector} {
			if s.Mode != "EXACT" {
				s.Count = 0 // says nothing
			}
		}
		for _, services := range [][]sigbox.Service{c.CAs, c.OIDC, c.Logs, c.TSAs} {
			for i := range services {
				services[i].URL = strings.TrimRight(services[i].URL, "/")
			}
		}
		if diff := cmp.Diff(c, again, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}
