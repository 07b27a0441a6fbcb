package interop

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rotationRun is an instance whose keys are replaced, what clients have signed with it,
// and in which log that is.
type rotationRun struct {
	in      *instance
	clients []client
	dir     string
	bundles []rotatedBundle
}

type rotatedBundle struct{ path, file, log string }

// rotate has a role's key replaced.
func (r *rotationRun) rotate(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command(r.in.binary, append([]string{"rotate", "--data", r.in.data}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("rotate %q: %v\n%s", args, err, out)
	}
}

// point has every client sign, in the log that it knows, and verify all that was signed
// so far.
func (r *rotationRun) point(t *testing.T, name string) {
	t.Run(name, func(t *testing.T) {
		file := write(t, filepath.Join(r.dir, name), "a release, "+name+"\n")
		for _, c := range r.clients {
			if err := refresh(c, r.in); err != nil {
				t.Fatal(err)
			}
			log := "v2"
			if l, ok := c.(limited); ok && l.lacks(log) != "" {
				log = "v1"
			}
			bundle := filepath.Join(r.dir, name+"."+c.name()+".sigstore.json")
			if err := c.sign(r.in, r.in.token(t), file, bundle); err != nil {
				t.Fatalf("%s does not sign: %v", c.name(), err)
			}
			r.bundles = append(r.bundles, rotatedBundle{bundle, file, log})
		}
		for _, c := range r.clients {
			for _, b := range r.bundles {
				if l, ok := c.(limited); ok && l.lacks(b.log) != "" {
					continue
				}
				if err := c.verify(r.in, b.file, b.path, email, r.in.issuer); err != nil {
					t.Errorf("%s refuses %s: %v", c.name(), filepath.Base(b.path), err)
				}
			}
		}
	})
}

// refresh brings what a client trusts up to date where it does not ask each time: sigbox
// does once a day, since keys are published for days before they sign, and sigstore-rs
// follows no TUF repository but Sigstore's own.
func refresh(c client, in *instance) error {
	switch c := c.(type) {
	case sigboxClient:
		return c.run("instance", "refresh", "here")
	case rsClient:
		return c.trust(in)
	}
	return nil
}

// TestRotation replaces the keys of an instance, while every client signs with it: before,
// while the new keys are published, after they sign and the old ones are gone, in the logs
// that follow, and with other keys of the same roots that sign at once. Each client
// verifies at each of these points all that was signed at any of them.
func TestRotation(t *testing.T) {
	in := serveTLS(t)
	r := &rotationRun{in: in, clients: clients(t, in), dir: t.TempDir()}
	for _, c := range r.clients {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s does not trust the instance: %v", c.name(), err)
		}
	}
	r.point(t, "before")
	r.rotate(t, "ca", "--root")
	r.rotate(t, "tsa", "--root")
	r.rotate(t, "oidc")
	r.point(t, "published")
	for _, role := range []string{"ca", "tsa", "oidc", "tuf"} { // the one that waits signs, and the old one is given up
		r.rotate(t, role, "--compromised")
	}
	r.point(t, "retired")
	for _, log := range []string{"rekor2", "rekor1", "ctlog"} {
		r.rotate(t, log, "--switch-after", "0s")
	}
	r.point(t, "logs")
	r.rotate(t, "ca", "--switch-after", "0s")
	r.rotate(t, "tsa", "--switch-after", "0s")
	r.rotate(t, "tuf")
	since := time.Now().Truncate(time.Second).Add(time.Second)
	for !time.Now().After(since.Add(time.Second)) { // times in signatures are whole seconds
		time.Sleep(50 * time.Millisecond)
	}
	r.point(t, "ending")
	r.rotate(t, "ca", "--compromised", "--since", since.UTC().Format(time.RFC3339))
	t.Run("stolen", func(t *testing.T) { r.stolen(t, "ending") })
}

// heedless are the clients that do not look at the end of a CA's validity: they find the
// certificate's issuer in the trusted root, and that is all.
func heedless(c client) bool {
	switch c.(type) {
	case pythonClient, rsClient:
		return true
	}
	return false
}

// stolen has every client that can refuse what was signed at a point, and nothing else:
// then others had the CA's key.
func (r *rotationRun) stolen(t *testing.T, point string) {
	for _, c := range r.clients {
		if err := refresh(c, r.in); err != nil {
			t.Fatal(err)
		}
		for _, b := range r.bundles {
			if l, ok := c.(limited); ok && l.lacks(b.log) != "" {
				continue
			}
			name := filepath.Base(b.path)
			err := c.verify(r.in, b.file, b.path, email, r.in.issuer)
			switch stolen := strings.HasPrefix(name, point+"."); {
			case stolen && !heedless(c) && !refused(err):
				t.Errorf("%s accepts %s: %v", c.name(), name, err)
			case (!stolen || heedless(c)) && err != nil:
				t.Errorf("%s refuses %s: %v", c.name(), name, err)
			}
		}
	}
}
