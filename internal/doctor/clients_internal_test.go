package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
)

// theirs is what an instance publishes, in so far as rules look at it.
func theirs() published {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	since := sigbox.TimeRange{Start: start}
	service := func(url string, version int) []sigbox.Service {
		return []sigbox.Service{{URL: url, MajorAPIVersion: version, ValidFor: since}}
	}
	any := sigbox.Selector{Mode: "ANY"}
	return published{
		rootJSON: []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`),
		root: &sigbox.TrustedRoot{
			Logs: []sigbox.TransparencyLog{{BaseURL: "https://log.example", ValidFor: since}}, CertificateAuthorities: []sigbox.CertificateAuthority{},
		},
		config: &sigbox.SigningConfig{
			CAs: service("https://ca.example", 1), OIDC: service("https://ca.example/oidc", 1), TSAs: service("https://ca.example/api/v1/timestamp", 1),
			Logs: append(service("https://log.example", 2), service("https://log.example", 1)...), LogSelector: any, TSASelector: any,
		},
	}
}

// Each client's trap is found.
func TestClientRules(t *testing.T) {
	const noCA = "names no certificate authority" // theirs has none
	for name, tt := range map[string]struct {
		change func(*published)
		found  string
		level  Level
	}{
		"as it is":   {func(*published) {}, noCA, Problem},
		"media type": {func(p *published) { p.rootJSON = []byte(`{}`) }, "media type", Problem},
		"checkpointKeyId": {func(p *published) {
			p.rootJSON = append(p.rootJSON[:1:1], []byte(`"checkpointKeyId":{},`+string(p.rootJSON[1:]))...)
		}, "checkpointKeyId", Warning},
		"no log":               {func(p *published) { p.root.Logs = nil }, "names no transparency log", Problem},
		"a slash":              {func(p *published) { p.root.Logs[0].BaseURL += "/" }, "ends in a slash", Problem},
		"a slash at a service": {func(p *published) { p.config.TSAs[0].URL += "/" }, "ends in a slash", Problem},
		"within a second": {func(p *published) {
			p.root.Logs[0].ValidFor.Start = p.root.Logs[0].ValidFor.Start.Add(time.Millisecond)
		}, "within a second", Warning},
		"Fulcio's version 2":   {func(p *published) { p.config.CAs[0].MajorAPIVersion = 2 }, "API version 2", Problem},
		"a path":               {func(p *published) { p.config.CAs[0].URL += "/fulcio" }, "has a path: /fulcio", Warning},
		"http":                 {func(p *published) { p.config.CAs[0].URL = "http://ca.example" }, "by http", Warning},
		"another selector":     {func(p *published) { p.config.LogSelector = sigbox.Selector{Mode: "EXACT", Count: 1} }, "selector of logs is EXACT", Warning},
		"v1 first":             {func(p *published) { p.config.Logs[0], p.config.Logs[1] = p.config.Logs[1], p.config.Logs[0] }, "v1 is listed before", Warning},
		"v1 later":             {func(p *published) { p.config.Logs[1].ValidFor.Start = p.config.Logs[1].ValidFor.Start.Add(time.Hour) }, "begins after", Warning},
		"no signing config":    {func(p *published) { p.config = nil }, "no signing config", Warning},
		"a CA without a chain": {func(p *published) { p.root.CertificateAuthorities = []sigbox.CertificateAuthority{{}} }, "chain is not", Problem},
		"a TSA without a leaf": {func(p *published) { p.root.TimestampAuthorities = []sigbox.CertificateAuthority{{}} }, "chain is not its own certificate first", Problem},
	} {
		p := theirs()
		tt.change(&p)
		found := false
		for _, f := range clients(p) {
			found = found || f.Level == tt.level && strings.Contains(f.Found, tt.found) && f.Means != "" && f.Do != ""
			if name != "a CA without a chain" && !strings.Contains(f.Found, tt.found) && !strings.Contains(f.Found, noCA) {
				t.Errorf("%s: besides %+v", name, f)
			}
		}
		if !found {
			t.Errorf("%s: no finding %s with %q: %+v", name, tt.level, tt.found, clients(p))
		}
	}
}

func TestDisk(t *testing.T) {
	const gib = 1 << 30
	for name, tt := range map[string]struct {
		disk app.Disk
		want Level
	}{
		"room":              {app.Disk{Free: 50 * gib, Size: 100 * gib, FreeFiles: 500, Files: 1000}, OK},
		"a small one":       {app.Disk{Free: 4 * gib, Size: 8 * gib}, OK},
		"little":            {app.Disk{Free: 4 * gib, Size: 100 * gib}, Warning},
		"full":              {app.Disk{Free: 100 << 20, Size: 100 * gib}, Problem},
		"nothing":           {app.Disk{Size: 100 * gib}, Problem},
		"no files":          {app.Disk{Free: 50 * gib, Size: 100 * gib, FreeFiles: 5, Files: 1000}, Problem},
		"no count of files": {app.Disk{Free: 50 * gib, Size: 100 * gib}, OK},
	} {
		if f := disk(tt.disk); f.Level != tt.want || tt.want != OK && (f.Means == "" || f.Do == "") {
			t.Errorf("%s: expected %s, found %+v", name, tt.want, f)
		}
	}
}

func TestLimitsAndMemory(t *testing.T) {
	if f := limited(&app.LimitStatus{Descriptors: 1024, Connections: 512}); len(f) != 1 || !strings.Contains(f[0].Do, "LimitNOFILE") {
		t.Errorf("found %+v", f)
	}
	if f := limited(&app.LimitStatus{Descriptors: 65536}); f != nil {
		t.Errorf("found %+v", f)
	}
	e := &exam{ground: app.Ground{Memory: 100 << 20}}
	if f := e.memory(t.Context()); len(f) != 1 || f[0].Level != Warning {
		t.Errorf("found %+v", f)
	}
}
