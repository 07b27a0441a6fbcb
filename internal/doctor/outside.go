package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/trust"
)

// maxFile bounds a file of a repository, in bytes.
const maxFile = 8 << 20

// second are the checks of what is published. With a server that does not answer, its
// own repository need not be asked.
func (e *exam) second() []check {
	if e.URL == "" || e.isAway() && strings.HasPrefix(e.Mirror, e.URL) {
		return nil
	}
	if err := e.ground.ElsewhereErr; err != nil {
		return []check{{"trust root", func(context.Context) []Finding {
			return []Finding{failed(Unknown, err, "what clients see of the instance was not looked at", "")}
		}}}
	}
	checks := []check{{"trust root", e.trust}, {"version", e.version}}
	if !remote.IsFileMirror(e.Mirror) {
		checks = append(checks, check{"TUF metadata", e.metadata})
	}
	return checks
}

// version compares the server's with ours, where it says which it is.
func (e *exam) version(ctx context.Context) []Finding {
	var s struct {
		Version string `json:"version"`
	}
	b, err := e.Client.Fetch(ctx, "the instance", e.URL+"/status", maxFile)
	if err != nil || json.Unmarshal(b, &s) != nil || s.Version == "" || e.Version == "" {
		return nil
	}
	if s.Version != e.Version {
		return []Finding{{Warning, "", fmt.Sprintf("the server is sigbox %.40s, and this is %.40s", s.Version, e.Version), "what one of them has, the other may not know", "use the same version; the server's data directory above all"}}
	}
	return well("the server and this program are both sigbox " + s.Version)
}

// third are the checks of the services, which are found by what is published.
func (e *exam) third() []check {
	if e.URL == "" {
		return nil
	}
	p := e.known()
	if p.root == nil {
		return []check{{"services", func(context.Context) []Finding {
			return []Finding{{Unknown, "", "the services were not looked at", "where they are, and whom to trust, is in the TUF repository, which was not to be had", "mend that first, and try again"}}
		}}}
	}
	return []check{
		{"clients", func(context.Context) []Finding { return clients(p) }},
		{"services", func(ctx context.Context) []Finding { return e.reach(ctx, p.config) }},
		{"issuers", func(ctx context.Context) []Finding { return e.issuers(ctx, p.config) }},
		{"certificates", func(context.Context) []Finding { return e.authorities(p.root) }},
		{"logs", func(ctx context.Context) []Finding { return e.logs(ctx, p) }},
		{"sealed logs", func(ctx context.Context) []Finding { return e.shards(ctx, p) }},
		{"signing", func(ctx context.Context) []Finding { return e.sign(ctx, p) }},
	}
}

func (e *exam) isAway() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.away
}

// server asks the instance how it is, and what time.
func (e *exam) server(ctx context.Context) []Finding {
	before := e.Now()
	ready, err := e.Client.Ready(ctx, e.URL)
	after := e.Now()
	switch {
	case err != nil && sigbox.KindOf(err) == sigbox.NotFound:
		return well(e.URL + " answers, and is no sigbox: it does not say how it is")
	case err != nil:
		e.mu.Lock()
		e.away = true
		e.mu.Unlock()
		return []Finding{failed(Problem, err, "no client can sign with this instance, or refresh its trust in it", e.unreachableHint())}
	}
	found := e.skew(ready.Date, before, after)
	for _, s := range ready.Services {
		if s.Notice != "" {
			found = append(found, Finding{Warning, s.Name, s.Notice, "it goes on until then", "see to it before; docs/operations.md, \"When something breaks\""})
		}
		if s.Error != "" {
			found = append(found, Finding{Problem, s.Name, s.Error, "what needs it is refused with status 503", "see the server's log, and docs/operations.md, \"When something breaks\""})
		}
	}
	if ready.Ready {
		found = append(found, well(fmt.Sprintf("%s is up, and all of its %s can serve", e.URL, plural(len(ready.Services), "service")))...)
	}
	return found
}

// unreachableHint is what to do about a server that does not answer, where more is
// known than that.
func (e *exam) unreachableHint() string {
	if e.Data == "" {
		return ""
	}
	return "look whether it runs (sigbox status --data " + e.ground.Data + "), and at what stands between: names, proxies, firewalls"
}

// maxSkew is how far clocks may be apart before signatures fail: certificates begin
// and tokens are good to the minute.
const maxSkew = 30 * time.Second

// skew compares the server's clock with ours. Its date is cut to the second, and was
// taken between two times.
func (e *exam) skew(date, before, after time.Time) []Finding {
	if date.IsZero() {
		return nil
	}
	off := time.Duration(0)
	if early := before.Add(-time.Second); date.Before(early) {
		off = date.Sub(early)
	} else if date.After(after) {
		off = date.Sub(after)
	}
	if off.Abs() <= maxSkew {
		return []Finding{{Level: OK, Check: "clock", Found: "this machine's clock and the server's agree"}}
	}
	which := "ahead of"
	if off < 0 {
		which = "behind"
	}
	return []Finding{{
		Problem, "clock", fmt.Sprintf("the server's clock is %s %s this machine's", span(off), which),
		"one of the two is wrong: what is signed seems to be from another time, and is refused",
		"compare both with another clock, as by: timedatectl; and have both follow NTP",
	}}
}

// trust follows the TUF repository as a client does, from the root that is trusted, in
// a cache of its own.
func (e *exam) trust(ctx context.Context) []Finding {
	root, found := e.pinned(ctx)
	if root == nil {
		return found
	}
	dir, err := os.MkdirTemp("", "sigbox-doctor-")
	if err != nil {
		return append(found, failed(Unknown, sigbox.Errorf(sigbox.Unavailable, "no place for what is fetched: %w", err), "", "set TMPDIR to a directory that can be written"))
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is the system's to clean, if this fails
	if e.Cache != "" {
		copyFiles(e.Cache, dir)
	}
	client := e.Client.TUF(remote.TUFConfig{Mirror: e.Mirror, Root: root, Dir: dir})
	err = client.Refresh(ctx)
	var p published
	if err == nil {
		p, err = read(client)
	}
	if err != nil {
		return append(found, failed(Problem, err, "clients cannot refresh what they trust: as soon as what they have cached expires, they refuse to sign and to verify", ""))
	}
	p.verified = true
	e.learn(p)
	return append(found, well("the TUF repository leads from the root that is trusted to the trust root and the signing config")...)
}

// read takes what is published from a client's cache.
func read(client *remote.TUFClient) (p published, err error) {
	root, err := client.Cached(remote.TrustedRootTarget)
	if err != nil {
		return p, err
	}
	config, err := client.Cached(remote.SigningConfigTarget)
	if err != nil && sigbox.KindOf(err) != sigbox.NotFound {
		return p, err
	}
	return parse(root.Data, config.Data)
}

// parse reads the two targets; configJSON may be nil.
func parse(rootJSON, configJSON []byte) (p published, err error) {
	p = published{rootJSON: rootJSON, configJSON: configJSON}
	if p.root, err = trust.ParseRoot(rootJSON); err != nil {
		return published{}, err
	}
	if configJSON != nil {
		if p.config, err = trust.ParseSigningConfig(configJSON); err != nil {
			return published{}, err
		}
	}
	return p, nil
}

// pinned gives the TUF root to begin at: the one that is trusted, or what the server
// says, which is told.
func (e *exam) pinned(ctx context.Context) ([]byte, []Finding) {
	if e.Root != nil {
		return e.Root, nil
	}
	served, err := e.Client.Fetch(ctx, "the instance", e.URL+"/root.json", maxFile)
	if err != nil {
		return nil, []Finding{failed(Problem, err, "nobody can begin to trust this instance by its URL", "")}
	}
	sum := sha256.Sum256(served)
	digest := hex.EncodeToString(sum[:])
	return served, []Finding{{
		Warning, "", "the TUF root is the server's own, with SHA-256 " + digest,
		"this examination believes what the server says of itself: an impostor would look as well",
		"compare the digest with the operator's, and add the instance: sigbox instance add NAME " + e.URL + " --root-sha256 " + digest,
	}}
}

// copyFiles copies the files of a directory, as far as they can be read.
func copyFiles(from, to string) {
	entries, err := os.ReadDir(from)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err != nil || !info.Mode().IsRegular() || info.Size() > 64<<20 {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(from, entry.Name())); err == nil { // #nosec G304 -- a cache of our own
			_ = os.WriteFile(filepath.Join(to, entry.Name()), b, 0o600)
		}
	}
}
