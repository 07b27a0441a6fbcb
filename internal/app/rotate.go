package app

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/tsa"
)

const (
	// trustOverlap is how long an authority stands in the trust root before it signs:
	// longer than clients go without asking for it, which is what the TUF timestamp is
	// valid for, so that each that takes our trust root at all has seen it.
	trustOverlap = 8 * 24 * time.Hour
	// tokenOverlap is how long a key of the provider is published before it signs: longer
	// than others keep the provider's keys.
	tokenOverlap = 24 * time.Hour
	// clockMargin is by how much clocks may differ: ours, and those that put the times into
	// signatures that verifiers compare with an authority's validity.
	clockMargin = 5 * time.Minute
)

// rotating is a key of an instance that one command replaces.
type rotating struct {
	// key is the name of the first one; it is also what the command calls it.
	key string
	// root is the key that certifies this one; "" if none does.
	root string
	// rules are how long its phases are.
	rules rotation.Rules
	// certify makes the certificates of a key, which check looks at as they will be used.
	// Both are nil for a key without.
	certify func(certification) ([][]byte, error)
	check   func(key crypto.Signer, chain [][]byte) error
	// atOnce says that there is no time between publishing a key and its first signature.
	atOnce bool
	// ready says why the services cannot take another key now, which may be in the place of
	// one that was stolen; nil if nothing can keep them from it.
	ready func(ctx context.Context, s *services, stolen bool) error
	// apply has the services use the keys as the state says.
	apply func(context.Context, *services) error
}

// certification is what the certificates of a key are made of.
type certification struct {
	root crypto.Signer
	// rootCertificate is root's, nil for one that is new.
	rootCertificate []byte
	public          crypto.PublicKey
	number          int
	now             func() time.Time
}

// rotatings are all, in the order in which they are shown.
func rotatings() []rotating {
	return []rotating{
		{
			key: caKey, root: caRootKey, rules: rotation.Rules{Overlap: trustOverlap, Tail: ca.DefaultValidity + clockMargin},
			certify: func(c certification) ([][]byte, error) {
				return ca.NewChain(ca.ChainConfig{Root: c.root, RootCertificate: c.rootCertificate, Intermediate: c.public, Number: c.number, Now: c.now})
			},
			check: ca.CheckAuthority,
			apply: func(ctx context.Context, s *services) error { return s.applyCA(ctx) },
		},
		{
			key: tsaKey, root: tsaRootKey, rules: rotation.Rules{Overlap: trustOverlap, Tail: clockMargin},
			certify: func(c certification) ([][]byte, error) {
				return tsa.NewChain(tsa.ChainConfig{Root: c.root, RootCertificate: c.rootCertificate, Leaf: c.public, Number: c.number, Now: c.now})
			},
			check: tsa.CheckAuthority,
			apply: func(ctx context.Context, s *services) error { return s.applyTSA(ctx) },
		},
		{
			key: oidcKey, rules: rotation.Rules{Overlap: tokenOverlap, Tail: oidc.MaxLifetime + clockMargin},
			apply: func(ctx context.Context, s *services) error { return s.applyOIDC(ctx) },
		},
		{ // clients go from root to root: the one that names the new key names the old one no more
			key: tufKey, atOnce: true,
			ready: func(ctx context.Context, s *services, _ bool) error { return s.tufReady(ctx) },
			apply: func(ctx context.Context, s *services) error { return s.applyTUF(ctx) },
		},
		rotatingLog(rekorKey), rotatingLog(rekorV1Key), rotatingLog(ctLogKey),
	}
}

// rotatingLog is the key of a log, of which each generation is a log of its own.
func rotatingLog(role string) rotating {
	return rotating{
		key: role, rules: rotation.Rules{Overlap: trustOverlap, Tail: clockMargin},
		ready: func(ctx context.Context, s *services, stolen bool) error { return s.logReady(ctx, role, stolen) },
		apply: func(ctx context.Context, s *services) error { return s.applyLog(ctx, role) },
	}
}

// rotatingKey gives the one of a name: its own, or that of the role that it is for.
func rotatingKey(name string) (rotating, error) {
	all := rotatings()
	if i := slices.IndexFunc(all, func(k rotating) bool { return k.key == name || string(roleOf(k.key)) == name }); i >= 0 {
		return all[i], nil
	}
	return rotating{}, sigbox.Errorf(sigbox.Invalid, "there is no role %.40q to rotate", name).
		WithHint("roles are %s", strings.Join(RotatingRoles(), ", "))
}

// RotatingRoles are the roles whose keys [Admin.Rotate] replaces.
func RotatingRoles() (names []string) {
	for _, k := range rotatings() {
		names = append(names, k.key)
	}
	return names
}

// CanRotate reports whether there is a role of a name, by the name of its key or by the
// one that it has as a part of an instance.
func CanRotate(name string) bool {
	_, err := rotatingKey(name)
	return err == nil
}

// SignsAtOnce reports whether the key of a role knows no time between its publication and
// its first signature.
func SignsAtOnce(role string) bool {
	k, err := rotatingKey(role)
	return err == nil && k.atOnce
}

// RotateRequest says which key to replace, and how.
type RotateRequest struct {
	// Role is the key's, one of [RotatingRoles].
	Role string `json:"role"`
	// DryRun has nothing done: the answer is what would come of it.
	DryRun bool `json:"dryRun,omitzero"`
	// SwitchAfter is how long the new key is published before it signs; nil is the role's
	// own time.
	SwitchAfter *rotation.Span `json:"switchAfter,omitzero"`
	// Root has a new root certify the key.
	Root bool `json:"root,omitzero"`
	// Signed are the key's certificates, PEM, when its root is kept elsewhere; "" has them
	// made here.
	Signed string `json:"signed,omitzero"`
	// Compromised says that others may have had the present key, since a time, now if zero:
	// its validity ends there, and another signs at once.
	Compromised bool      `json:"compromised,omitzero"`
	Since       time.Time `json:"since,omitzero"`
	// Abandon takes back a key that waits to sign.
	Abandon bool `json:"abandon,omitzero"`
}

// check refuses what does not go together.
func (r *RotateRequest) check(k rotating) error {
	switch {
	case r.Abandon && (r.Compromised || r.SwitchAfter != nil || r.Root || r.Signed != ""):
		return sigbox.Errorf(sigbox.Invalid, "a key that is taken back needs nothing else")
	case r.Compromised && r.SwitchAfter != nil:
		return sigbox.Errorf(sigbox.Invalid, "for a key that others have another one signs at once: there is no time to wait for")
	case !r.Compromised && !r.Since.IsZero():
		return sigbox.Errorf(sigbox.Invalid, "a time since when belongs to a key that is compromised")
	case r.SwitchAfter != nil && (*r.SwitchAfter < 0 || *r.SwitchAfter > rotation.Span(maxOverlap)):
		return sigbox.Mismatch(sigbox.Invalid, "a key cannot wait that long before it signs", "between 0 and "+maxOverlap.String(), time.Duration(*r.SwitchAfter))
	case k.atOnce && r.SwitchAfter != nil:
		return sigbox.Errorf(sigbox.Invalid, "the key %s signs at once: there is no time to wait for", k.key)
	case k.certify == nil && (r.Root || r.Signed != ""):
		return sigbox.Errorf(sigbox.Invalid, "the key %s has no certificates, and so no root", k.key)
	}
	return nil
}

// maxOverlap bounds how long a key waits before it signs.
const maxOverlap = 365 * 24 * time.Hour

// next gives the generations as the request makes them.
func (r *RotateRequest) next(k rotating, gens []rotation.Generation, now time.Time) ([]rotation.Generation, error) {
	if err := r.check(k); err != nil {
		return nil, err
	}
	g := rotation.Generation{Overlap: rotation.Span(k.rules.Overlap), Root: rotation.Current(gens).Root}
	if r.SwitchAfter != nil {
		g.Overlap = *r.SwitchAfter
	}
	if r.Root {
		g.Root = rotation.NextNumber(gens)
	}
	switch {
	case r.Abandon:
		return rotation.Abandon(gens, now)
	case r.Compromised:
		if next, waits := rotation.Next(gens); waits && (r.Root || r.Signed != "") {
			return nil, sigbox.Errorf(sigbox.Conflict, "the key %s waits already, and would sign with the certificates that it has", generationKey(k.key, next.Number)).
				WithHint("take it back first, with --abandon; or have it sign, without other certificates")
		}
		since := r.Since
		if since.IsZero() {
			since = now
		}
		return rotation.Compromised(gens, since, g.Root, now)
	}
	return rotation.Begin(gens, g, k.rules, now)
}

// RoleKeys are the keys that a role had, has and will have.
type RoleKeys struct {
	Role string      `json:"role"`
	Keys []KeyStatus `json:"keys"`
	// Steps are what will be done by itself, in its order.
	Steps []KeyStep `json:"steps,omitempty"`
	// Waiting is why the first of them, which is due, is not done; "" if nothing keeps it.
	Waiting string `json:"waiting,omitempty"`
}

// KeyStatus is a key of a role.
type KeyStatus struct {
	// Name is the key's, as in the settings.
	Name string `json:"name"`
	// Place is where its private half is: a file below the data directory or what the
	// settings say; "" for one that was destroyed.
	Place string `json:"place,omitempty"`
	// Phase is made, published, signing, ending, retired or abandoned.
	Phase rotation.Phase `json:"phase"`
	// Since when it is published, and since when it signs; until when what it signed is
	// accepted; when its private half was given up. Nil for what was not yet.
	Published *time.Time `json:"published,omitempty"`
	Signing   *time.Time `json:"signing,omitempty"`
	Ends      *time.Time `json:"ends,omitempty"`
	Retired   *time.Time `json:"retired,omitempty"`
	// Compromised is since when others may have had it.
	Compromised *time.Time `json:"compromised,omitempty"`
}

// KeyStep is what will be done with a key, and when.
type KeyStep struct {
	At time.Time `json:"at"`
	// Action is publish, switch or retire.
	Action rotation.Action `json:"action"`
	Key    string          `json:"key"`
}

// describe gives the generations of a key in words for people.
func (r *rotator) describe(k rotating, gens []rotation.Generation) (RoleKeys, error) {
	d := RoleKeys{Role: k.key, Waiting: r.waits.text(k.key)}
	some := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	for _, g := range gens {
		name := generationKey(k.key, g.Number)
		place, outside, err := r.keeper.place(name)
		if err != nil {
			return d, err
		}
		at := ""
		switch {
		case outside:
			at = place.String()
		case held(k.key, g):
			at = filepath.Join(keyDir, name+".pem")
		}
		d.Keys = append(d.Keys, KeyStatus{
			Name: name, Place: at, Phase: g.Phase(), Published: some(g.Published), Signing: some(g.Signing),
			Ends: some(g.Ends), Retired: some(g.Retired), Compromised: some(g.Compromised),
		})
	}
	for _, s := range rotation.Plan(gens, k.rules, r.cfg.Now()) {
		if s.Action == rotation.Retire && held(k.key, rotation.Generation{Retired: s.At}) {
			continue // there is nothing to be seen of it
		}
		d.Steps = append(d.Steps, KeyStep{s.At, s.Action, generationKey(k.key, s.Generation)})
	}
	return d, nil
}

// signing is the name of the key of a role that signs now.
func (s state) signing(key string) string {
	return generationKey(key, rotation.Current(s.generations(key)).Number)
}

// chainPath is where the certificates of a key are.
func chainPath(dir, name string) string { return filepath.Join(dir, certDir, name+".pem") }

// trustOf gives the places in a trust root of all authorities of a role: each with its
// own certificates, the older ones until their ends.
func trustOf(dir, role string, gens []rotation.Generation, trust func(chain [][]byte) (sigbox.CertificateAuthority, error)) (list []sigbox.CertificateAuthority, err error) {
	for _, g := range gens {
		if !g.Trusted() {
			continue
		}
		path := chainPath(dir, generationKey(role, g.Number))
		chain, err := readChain(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, lostChain(path)
		}
		if err != nil {
			return nil, diskError(dir, err)
		}
		a, err := trust(chain)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", path, err)
		}
		if !g.Ends.IsZero() {
			a.ValidFor.End = slices.MaxFunc([]time.Time{g.Ends, a.ValidFor.Start}, time.Time.Compare)
		}
		list = append(list, a)
	}
	return list, nil
}

// leafOf parses the first certificate of a chain.
func leafOf(chain [][]byte) (*x509.Certificate, error) {
	if len(chain) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "a chain without certificates")
	}
	return x509.ParseCertificate(chain[0])
}
