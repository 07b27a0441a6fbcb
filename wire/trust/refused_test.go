package trust

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

// TestAppendRefuses: what readers would refuse is not written.
func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *sigbox.TrustedRoot){
		"another type":      func(r *sigbox.TrustedRoot) { r.MediaType = "text/plain" },
		"no algorithm":      func(r *sigbox.TrustedRoot) { r.CTLogs[0].Details = 0 },
		"no hash":           func(r *sigbox.TrustedRoot) { r.Logs[0].HashAlgorithm = 0 },
		"no key":            func(r *sigbox.TrustedRoot) { r.Logs[1].PublicKey = nil },
		"no log ID":         func(r *sigbox.TrustedRoot) { r.Logs[0].LogID = nil },
		"no chain":          func(r *sigbox.TrustedRoot) { r.CertificateAuthorities[0].Chain = nil },
		"no chain of a TSA": func(r *sigbox.TrustedRoot) { r.TimestampAuthorities[1].Chain = nil },
	} {
		r := root(MediaTypeRootV01)
		change(r)
		if b, err := AppendRoot(nil, r); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v, %s", name, err, b)
		}
	}
	// What a root does not list is not written at all.
	if b, err := AppendRoot(nil, &sigbox.TrustedRoot{}); err != nil || strings.Contains(string(b), "[]") {
		t.Errorf("found %s, %v", b, err)
	}
	if b, err := AppendSigningConfig(nil, &sigbox.SigningConfig{}); err != nil || strings.Contains(string(b), "[]") {
		t.Errorf("found %s, %v", b, err)
	}
	good := sigbox.Service{URL: "https://ca.example", MajorAPIVersion: 1}
	for name, c := range map[string]sigbox.SigningConfig{
		"another type":  {MediaType: "text/plain"},
		"no URL":        {CAs: []sigbox.Service{{MajorAPIVersion: 1}}},
		"no version":    {TSAs: []sigbox.Service{{URL: good.URL}}},
		"unknown ways":  {Logs: []sigbox.Service{good}, LogSelector: sigbox.Selector{Mode: "SOME"}},
		"other unknown": {TSASelector: sigbox.Selector{Mode: "all"}},
	} {
		if b, err := AppendSigningConfig(nil, &c); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v, %s", name, err, b)
		}
	}
}

// TestNumbers: enumerations by their numbers, as other writers have them.
func TestNumbers(t *testing.T) {
	t.Parallel()
	b, err := AppendRoot(nil, root(MediaTypeRootV01))
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[string]sigbox.KeyDetails{"7": sigbox.Ed25519, "5": sigbox.ECDSAP256SHA256, "0": 0, "6": 0, "60": 0, "99": 0} {
		r, err := ParseRoot([]byte(strings.ReplaceAll(string(b), `"PKIX_ED25519"`, number)))
		if err != nil || r.Logs[0].Details != want {
			t.Errorf("algorithm %s: found %v", number, err)
		}
	}
	for number, want := range map[string]sigbox.HashAlgorithm{"1": sigbox.SHA256, "2": sigbox.SHA384, "3": sigbox.SHA512, "0": 0, "4": 0, `"SHA3_256"`: 0} {
		r, err := ParseRoot([]byte(strings.ReplaceAll(string(b), `"SHA2_256"`, number)))
		if err != nil || r.Logs[0].HashAlgorithm != want {
			t.Errorf("hash %s: found %v", number, err)
		}
	}
	config := func(selector string) string {
		return `{"mediaType":"` + MediaTypeSigningConfigV02 + `","rekorTlogConfig":{"selector":` + selector + `}}`
	}
	for selector, want := range map[string]string{`"ALL"`: "ALL", "1": "ALL", "2": "ANY", "3": "EXACT", "0": "", "4": "", `"SERVICE_SELECTOR_UNDEFINED"`: "", `""`: "", `"all"`: ""} {
		c, err := ParseSigningConfig([]byte(config(selector)))
		if (err == nil) != (want != "") || err == nil && c.LogSelector.Mode != want {
			t.Errorf("selector %s: found %v, expected %q", selector, err, want)
		}
	}
	if _, err := ParseSigningConfig([]byte(strings.Replace(config("1"), "v0.2", "v0.3", 1))); err == nil || !strings.Contains(err.Error(), "unknown media type") {
		t.Errorf("found %v, expected the type to be refused", err)
	}
	bounded := `{"mediaType":"` + MediaTypeSigningConfigV02 + `","rekorTlogConfig":{"count":7},"caUrls":[{"url":"x","majorApiVersion":7}]}`
	if _, err := ParseSigningConfig([]byte(bounded)); err != nil {
		t.Error(err)
	}
	for _, member := range []string{`"count":`, `"majorApiVersion":`} {
		if _, err := ParseSigningConfig([]byte(strings.Replace(bounded, member+"7", member+"1000000", 1))); err == nil || !strings.Contains(err.Error(), "expected an integer from 0 to") {
			t.Errorf("%s: found %v, expected a bound", member, err)
		}
	}
	if _, err := ParseSigningConfig([]byte(`{}`)); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a type to be missed", err)
	}
}

// TestRootsBounds: a file of roots has a bound, and its empty lines are none of them.
func TestRootsBounds(t *testing.T) {
	t.Parallel()
	b, err := AppendRoot(nil, root(MediaTypeRootV01))
	if err != nil {
		t.Fatal(err)
	}
	if roots, err := ParseRoots([]byte("\n" + string(b) + "\n\n" + string(b) + "\n")); err != nil || len(roots) != 2 {
		t.Errorf("found %d roots, %v", len(roots), err)
	}
	if _, err := ParseRoots([]byte("{\n}")); err == nil || strings.Contains(err.Error(), "line") {
		t.Errorf("found %v, expected what is wrong with the whole", err)
	}
	if _, err := ParseRoot(make([]byte, MaxSize+1)); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bytes", err)
	}
	if _, err := ParseSigningConfig(make([]byte, MaxSize+1)); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bytes", err)
	}
	if _, err := ParseRoots(make([]byte, MaxSize+1)); sigbox.KindOf(err) != sigbox.TooLarge || !strings.Contains(err.Error(), "trusted roots of") {
		t.Errorf("found %v, expected too many bytes", err)
	}
}
