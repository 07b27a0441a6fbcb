package trust

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
)

func at(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func root(mediaType string) *sigbox.TrustedRoot {
	log := sigbox.TransparencyLog{
		BaseURL: "https://log.example", HashAlgorithm: sigbox.SHA256, PublicKey: []byte{1, 2, 3},
		Details: sigbox.Ed25519, ValidFor: sigbox.TimeRange{Start: at("2026-01-01")}, LogID: []byte("log ID"),
	}
	ca := sigbox.CertificateAuthority{
		Organization: "example", CommonName: "ca", URI: "https://ca.example", Chain: [][]byte{{1}, {2}},
		ValidFor: sigbox.TimeRange{Start: at("2026-01-01"), End: at("2027-01-01").Add(-time.Millisecond)},
	}
	r := &sigbox.TrustedRoot{MediaType: mediaType}
	if mediaType == MediaTypeRootV02 {
		log.Operator, log.CheckpointKeyID, ca.Operator = "example", []byte("ckid"), "example"
	}
	r.Logs = []sigbox.TransparencyLog{log, log}
	r.CTLogs = []sigbox.TransparencyLog{log}
	r.CertificateAuthorities = []sigbox.CertificateAuthority{ca}
	r.TimestampAuthorities = []sigbox.CertificateAuthority{ca, ca}
	return r
}

func TestRootRoundTrip(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{MediaTypeRootV01, MediaTypeRootV02} {
		want := root(mediaType)
		b, err := AppendRoot(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRoot(b)
		if err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// What is written as 0.1 must hold nothing that older clients refuse.
func TestAppendRootTraps(t *testing.T) {
	t.Parallel()
	r := root(MediaTypeRootV02)
	r.MediaType = ""
	r.Logs[0].BaseURL += "/"
	b, err := AppendRoot(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, trap := range []string{"operator", "checkpointKeyId", `/"`} {
		if strings.Contains(string(b), trap) {
			t.Errorf("found %s in %s", trap, b)
		}
	}
	r.Logs[0].Details = 0
	if _, err := AppendRoot(nil, r); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a log without an algorithm to be refused", err)
	}
}

func TestParseRoot(t *testing.T) {
	t.Parallel()
	b, err := AppendRoot(nil, root(MediaTypeRootV01))
	if err != nil {
		t.Fatal(err)
	}
	good := string(b)
	for name, c := range map[string]struct{ in, want string }{
		"dotted 0.1":        {strings.Replace(good, MediaTypeRootV01, mediaTypeRootV01Dotted, 1), ""},
		"another algorithm": {strings.Replace(good, "PKIX_ED25519", "PKIX_OF_TOMORROW", 1), ""},
		"0.3":               {strings.Replace(good, "version=0.1", "version=0.3", 1), "unknown media type"},
		"no type":           {`{"tlogs":[]}`, "unknown media type"},
		"unknown member":    {strings.Replace(good, `"uri"`, `"url":1,"uri"`, 1), "unknown member"},
		"no key":            {strings.Replace(good, `"rawBytes":"AQID",`, "", 1), "no public key"},
		"no chain":          {strings.Replace(good, `{"rawBytes":"AQ=="},{"rawBytes":"Ag=="}`, "", 1), "no certificates"},
		"ends first":        {strings.Replace(good, "2026-12-31", "2016-12-31", 1), "ends before it starts"},
		"no time":           {strings.Replace(good, "2026-01-01T00:00:00Z", "yesterday", 1), "expected a time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseRoot([]byte(c.in))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("found %v, expected an error with %q", err, c.want)
			}
		})
	}
}

func TestParseRoots(t *testing.T) {
	t.Parallel()
	b, err := AppendRoot(nil, root(MediaTypeRootV01))
	if err != nil {
		t.Fatal(err)
	}
	one := string(b)
	for _, c := range []struct {
		in   string
		want int
	}{{one, 1}, {one + "\n" + one + "\n", 2}, {one + "\n{}", 0}, {"", 0}, {strings.Repeat(one+"\n", MaxRoots+1), 0}} {
		got, err := ParseRoots([]byte(c.in))
		if len(got) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("found %d roots, %v; expected %d", len(got), err, c.want)
		}
	}
}

func TestSigningConfigRoundTrip(t *testing.T) {
	t.Parallel()
	want := &sigbox.SigningConfig{
		MediaType:   MediaTypeSigningConfigV02,
		CAs:         []sigbox.Service{{URL: "https://ca.example", MajorAPIVersion: 1, ValidFor: sigbox.TimeRange{Start: at("2026-01-01")}, Operator: "example"}},
		OIDC:        []sigbox.Service{{URL: "https://id.example/oidc", MajorAPIVersion: 1, Operator: "example"}},
		Logs:        []sigbox.Service{{URL: "https://log.example", MajorAPIVersion: 2, Operator: "example"}},
		TSAs:        []sigbox.Service{{URL: "https://tsa.example/api/v1/timestamp", MajorAPIVersion: 1, Operator: "example"}},
		LogSelector: sigbox.Selector{Mode: "EXACT", Count: 2}, TSASelector: sigbox.Selector{Mode: "ANY"},
	}
	b, err := AppendSigningConfig(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSigningConfig(b)
	if err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	want.TSASelector.Mode = "SOME"
	if _, err := AppendSigningConfig(nil, want); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected an unknown selector", err)
	}
	old := `{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.1+json","caUrl":"https://ca.example"}`
	if _, err := ParseSigningConfig([]byte(old)); err == nil || !strings.Contains(err.Error(), "expected 0.2, found 0.1") {
		t.Errorf("found %v, expected the old version to be named", err)
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	service := func(name string, version int, operator, start, end string) sigbox.Service {
		s := sigbox.Service{URL: name, MajorAPIVersion: version, Operator: operator, ValidFor: sigbox.TimeRange{Start: at(start)}}
		if end != "" {
			s.ValidFor.End = at(end)
		}
		return s
	}
	services := []sigbox.Service{
		service("v1", 1, "a", "2026-06-01", ""),
		service("a-old", 2, "a", "2026-01-01", ""),
		service("a-new", 2, "a", "2026-03-01", ""),
		service("b", 2, "b", "2026-02-01", "2026-06-01"),
		service("future", 2, "c", "2027-01-01", ""),
		service("v3", 3, "a", "2026-01-01", ""),
	}
	exact := func(n int) sigbox.Selector { return sigbox.Selector{Mode: "EXACT", Count: n} }
	for name, c := range map[string]struct {
		sel      sigbox.Selector
		now      string
		versions []int
		want     string // "" is an error
	}{
		"any":                 {sigbox.Selector{Mode: "ANY"}, "2026-04-01", []int{1, 2}, "a-new"},
		"all":                 {sigbox.Selector{Mode: "ALL"}, "2026-04-01", []int{1, 2}, "a-new b"},
		"exact":               {exact(2), "2026-04-01", []int{1, 2}, "a-new b"},
		"the end is included": {exact(2), "2026-06-01", []int{1, 2}, "a-new b"},
		"too few":             {exact(3), "2026-04-01", []int{1, 2}, ""},
		"exact zero":          {exact(0), "2026-04-01", []int{1, 2}, ""},
		"after b's end":       {sigbox.Selector{Mode: "ALL"}, "2026-06-02", []int{1, 2}, "a-new"},
		"never mixed":         {exact(2), "2026-06-02", []int{1, 2}, ""},
		"old clients":         {sigbox.Selector{Mode: "ALL"}, "2026-06-02", []int{1}, "v1"},
		"falls back":          {sigbox.Selector{Mode: "ANY"}, "2026-06-02", []int{1, 7}, "v1"},
		"too early":           {sigbox.Selector{Mode: "ANY"}, "2025-01-01", []int{1, 2}, ""},
		"no selector":         {sigbox.Selector{}, "2026-04-01", []int{1, 2}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Select(services, c.sel, at(c.now), c.versions)
			var names []string
			for _, s := range got {
				names = append(names, s.URL)
			}
			if found := strings.Join(names, " "); found != c.want || (err == nil) != (c.want != "") {
				t.Errorf("found %q, %v; expected %q", found, err, c.want)
			}
		})
	}
}
