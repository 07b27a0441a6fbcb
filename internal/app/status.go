package app

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/parts"
	"github.com/sigbox/sigbox/internal/web"
)

// Status is how an instance is, for who can use its data directory.
type Status struct {
	// Running says whether a server is up; without one only what the directory
	// tells is filled in.
	Running bool   `json:"running"`
	PID     int    `json:"pid,omitempty"`
	Data    string `json:"data"`
	PublicStatus
	Clock  *ClockStatus `json:"clock,omitempty"`
	Keys   []HeldKey    `json:"keys,omitempty"`
	Limits *LimitStatus `json:"limits,omitempty"`
	// Restart names the settings that were changed since the start and wait for the next.
	Restart []string `json:"restart,omitempty"`
}

// PublicStatus is how an instance is, for everybody.
type PublicStatus struct {
	Ready       bool            `json:"ready"`
	Version     string          `json:"version,omitempty"`
	Started     *time.Time      `json:"started,omitempty"`
	URL         string          `json:"url"`
	LogHostname string          `json:"logHostname"`
	Roles       []Role          `json:"roles,omitempty"`
	Services    []ServiceStatus `json:"services,omitempty"`
	Logs        []LogStatus     `json:"logs,omitempty"`
	// RootSHA256 is the digest of the TUF root to hand out, in hexadecimal.
	RootSHA256   string              `json:"rootSHA256,omitempty"`
	TUF          []TUFStatus         `json:"tuf,omitempty"`
	Certificates []CertificateStatus `json:"certificates,omitempty"`
	Trusted      []LogKeyStatus      `json:"trustedLogs,omitempty"`
}

// ServiceStatus is one service's own word; Error is "" while it can serve, and Notice
// while nothing is about to change that.
type ServiceStatus struct {
	Name   string `json:"name"`
	Error  string `json:"error,omitempty"`
	Notice string `json:"notice,omitempty"`
}

// LogStatus is how far a log has come.
type LogStatus struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	// Committed is when the last entry was; nil for an empty log.
	Committed *time.Time `json:"committed,omitempty"`
	// Unindexed are the oldest entries, which searches do not find yet: they are
	// older than the index, and get their rows while the instance runs.
	Unindexed uint64 `json:"unindexed,omitzero"`
}

// TUFStatus is when metadata of a role of the TUF repository ends.
type TUFStatus struct {
	Role    string    `json:"role"`
	Expires time.Time `json:"expires"`
}

// CertificateStatus is a certificate that others know the instance by. Role is ca, tsa or
// tls.
type CertificateStatus struct {
	Role    string    `json:"role"`
	Subject string    `json:"subject"`
	SHA256  string    `json:"sha256"`
	Expires time.Time `json:"expires"`
}

// LogKeyStatus is a log that is trusted: where it is, and its key's ID in hexadecimal. Kind
// is log or ctlog.
type LogKeyStatus struct {
	Kind string    `json:"kind"`
	URL  string    `json:"url"`
	ID   string    `json:"logId"`
	From time.Time `json:"validFrom"`
}

// HeldKey is where a key is.
type HeldKey struct {
	Name string `json:"name"`
	// Place is "file", or where it is kept outside; "" if a root's is not at hand.
	Place string `json:"place,omitempty"`
	// SHA256 is the digest of its public half, DER, in hexadecimal.
	SHA256 string `json:"sha256,omitempty"`
}

// LimitStatus are the bounds that hold.
type LimitStatus struct {
	Requests    int64 `json:"requests"`
	BodyBytes   int64 `json:"bodyBytes"`
	Connections int   `json:"connections"`
	// Descriptors is how many files the process may have open; 0 if that is not known.
	Descriptors uint64 `json:"descriptors"`
}

// status is what an instance's state tells of it.
func (s state) status(dir string) Status {
	return Status{Data: dir, PublicStatus: PublicStatus{URL: s.URL, LogHostname: s.LogHostname}}
}

// status is how the running instance is.
func (a *App) status() Status {
	out := a.state.get().status(a.cfg.Data)
	out.Running, out.PID, out.PublicStatus = true, os.Getpid(), a.publicStatus()
	out.Clock, out.Keys = a.services.clockStatus(), a.services.keyStatus()
	if names := a.awaiting.Load(); names != nil {
		out.Restart = *names
	}
	out.Limits = &LimitStatus{
		Requests: a.current.Load().Limits.Requests, BodyBytes: a.current.Load().Limits.BodyBytes,
		Connections: connections(descriptors()), Descriptors: descriptors(),
	}
	return out
}

func (a *App) publicStatus() PublicStatus {
	results, ready := a.health.Run()
	st := a.state.get()
	out := PublicStatus{
		Ready: ready, Version: a.cfg.Version, Started: &a.started, URL: st.URL, LogHostname: st.LogHostname,
		Logs: a.services.logs(),
	}
	for _, r := range results {
		out.Services = append(out.Services, ServiceStatus(r))
	}
	for _, role := range Roles() {
		if a.settings.has(role) {
			out.Roles = append(out.Roles, role)
		}
	}
	a.services.addTrust(&out)
	a.addTLS(&out)
	return out
}

// addTrust says by what others know the instance.
func (s *services) addTrust(out *PublicStatus) {
	if s.tuf != nil {
		sum := sha256.Sum256(s.tuf.Root())
		out.RootSHA256 = hex.EncodeToString(sum[:])
		ends := s.tuf.Expires()
		for _, role := range slices.Sorted(maps.Keys(ends)) {
			out.TUF = append(out.TUF, TUFStatus{role, ends[role].UTC()})
		}
	}
	root := s.trustedRoot()
	for _, ca := range root.CertificateAuthorities {
		out.addChain("ca", ca.Chain)
	}
	for _, tsa := range root.TimestampAuthorities {
		out.addChain("tsa", tsa.Chain)
	}
	for kind, logs := range map[string][]sigbox.TransparencyLog{"ctlog": root.CTLogs, "log": root.Logs} {
		for _, l := range logs {
			out.Trusted = append(out.Trusted, LogKeyStatus{kind, l.BaseURL, hex.EncodeToString(l.LogID), l.ValidFor.Start.UTC()})
		}
	}
	slices.SortFunc(out.Trusted, func(a, b LogKeyStatus) int { return strings.Compare(a.Kind+a.URL, b.Kind+b.URL) })
}

// addTLS says when the TLS certificate ends.
func (a *App) addTLS(out *PublicStatus) {
	if a.cert != nil {
		out.addChain("tls", a.cert.current.Load().Certificate[:1])
	}
}

// addChain notes the certificates of a chain that are not there yet: generations share
// their root.
func (p *PublicStatus) addChain(role string, chain [][]byte) {
	for _, der := range chain {
		c, err := x509.ParseCertificate(der)
		sum := sha256.Sum256(der)
		id := hex.EncodeToString(sum[:])
		if err != nil || slices.ContainsFunc(p.Certificates, func(c CertificateStatus) bool { return c.SHA256 == id }) {
			continue
		}
		name := c.Subject.CommonName
		if name == "" && len(c.DNSNames) > 0 {
			name = c.DNSNames[0]
		}
		p.Certificates = append(p.Certificates, CertificateStatus{role, name, id, c.NotAfter.UTC()})
	}
}

// keyStatus says where the keys are that the instance uses.
func (s *services) keyStatus() (list []HeldKey) {
	kinds := s.app.state.get().keyKinds(s.app.settings.rekorV1())
	if s.told.key != nil {
		kinds[partKey] = parts.Kind
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		if name != partKey && !s.app.settings.has(roleOf(name)) {
			continue
		}
		status := HeldKey{Name: name}
		key := s.held(name)
		if place, _, err := s.keeper.place(name); err == nil && (key != nil || !isRoot(name)) {
			status.Place = place.String() // that of a rotation is opened only when it is to sign
		}
		if key != nil {
			if der, err := x509.MarshalPKIXPublicKey(key.Public()); err == nil {
				sum := sha256.Sum256(der)
				status.SHA256 = hex.EncodeToString(sum[:])
			}
		}
		list = append(list, status)
	}
	return list
}

// held gives a key that is open already, nil for another.
func (s *services) held(name string) crypto.Signer {
	if name == partKey {
		return s.told.key
	}
	if key := s.keys[name]; key != nil {
		return key
	}
	s.late.mu.Lock()
	defer s.late.mu.Unlock()
	return s.late.ring[name]
}

// statusAge is how long an answer of the page is given to others, too.
const statusAge = time.Second

// statusPage answers everybody who asks how the instance is, a page for people and JSON for
// programs, and looks once a second.
type statusPage struct {
	app *App

	mu   sync.Mutex
	at   time.Time    // guarded by mu
	last PublicStatus // guarded by mu; as it was at that time
}

// current gives a status that is no older than statusAge.
func (p *statusPage) current() PublicStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if age := time.Since(p.at); p.at.IsZero() || age >= statusAge { // whatever the instance's clock is
		p.at, p.last = time.Now(), p.app.publicStatus()
	}
	return p.last
}

func (p *statusPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Add("Vary", "Accept")
	s := p.current()
	if !wantsJSON(r) {
		p.app.services.pages.Status(w, s.view())
		return
	}
	body, err := json.Marshal(s)
	if err != nil {
		http.Error(w, "the status cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(append(body, '\n')) // the client has gone: nothing to be done
}

// wantsJSON reports whether a client asks for JSON and not for a page.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}

// view is what the page shows.
func (p *PublicStatus) view() web.StatusView {
	v := web.StatusView{URL: p.URL, Ready: p.Ready, Version: p.Version, Started: p.Started, RootSHA256: p.RootSHA256}
	for _, s := range p.Services {
		v.Services = append(v.Services, web.StatusLine{Name: s.Name, Text: s.Error + s.Notice, Bad: s.Error != ""})
	}
	for _, l := range p.Logs {
		v.Logs = append(v.Logs, web.StatusLog{Origin: l.Origin, Size: l.Size, Committed: l.Committed})
	}
	for _, t := range p.TUF {
		v.Ends = append(v.Ends, web.StatusEnd{Name: "TUF " + t.Role, At: t.Expires})
	}
	for _, c := range p.Certificates {
		v.Ends = append(v.Ends, web.StatusEnd{Name: c.Role + ": " + c.Subject, At: c.Expires})
		v.Fingerprints = append(v.Fingerprints, web.StatusLine{Name: c.Role + ": " + c.Subject, Text: c.SHA256})
	}
	for _, l := range p.Trusted {
		v.Fingerprints = append(v.Fingerprints, web.StatusLine{Name: l.Kind + ": " + l.URL, Text: l.ID})
	}
	return v
}
