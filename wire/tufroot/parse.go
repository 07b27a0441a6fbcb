package tufroot

import (
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
)

// file is a root as it stands in a file, and nothing else may.
type file struct {
	Signatures []struct {
		KeyID     string `json:"keyid"`
		Signature string `json:"sig"`
	} `json:"signatures"`
	Signed struct {
		Type        string               `json:"_type"`
		SpecVersion string               `json:"spec_version"`
		Version     int64                `json:"version"`
		Expires     time.Time            `json:"expires"`
		Consistent  bool                 `json:"consistent_snapshot"`
		Keys        map[string]*keyEntry `json:"keys"`
		Roles       map[string]*role     `json:"roles"`
	} `json:"signed"`
}

type keyEntry struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"`
	} `json:"keyval"`
}

type role struct {
	KeyIDs    []string `json:"keyids"`
	Threshold int      `json:"threshold"`
}

// Parse reads a root, with however many signatures, and checks none of them. Errors:
// Invalid, TooLarge.
func Parse(b []byte) (*Root, error) {
	if len(b) > MaxSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "TUF root: at most %d bytes are read", MaxSize)
	}
	var f file
	if err := json.Unmarshal(b, &f, json.RejectUnknownMembers(true)); err != nil {
		return nil, jsonerr.Of("TUF root", err)
	}
	if err := f.checkHead(); err != nil {
		return nil, err
	}
	keys, err := f.keys()
	if err != nil {
		return nil, err
	}
	policies, err := f.policies(keys)
	if err != nil {
		return nil, err
	}
	s := f.Signed
	root := &Root{
		Version: s.Version, Expires: s.Expires.UTC(),
		Root: policies[metadata.ROOT], Targets: policies[metadata.TARGETS], Snapshot: policies[metadata.SNAPSHOT], Timestamp: policies[metadata.TIMESTAMP],
	}
	if root.meta, err = new(metadata.Metadata[metadata.RootType]).FromBytes(b); err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "TUF root: it is malformed").WithCause(err)
	}
	return root, nil
}

// checkHead checks what is not about keys.
func (f *file) checkHead() error {
	s := f.Signed
	switch {
	case s.Type != metadata.ROOT:
		return sigbox.Mismatch(sigbox.Invalid, "TUF root: metadata of another role", metadata.ROOT, printable(s.Type))
	case !regexp.MustCompile(`^1(\.[0-9]{1,4}){1,2}$`).MatchString(s.SpecVersion):
		return sigbox.Mismatch(sigbox.Invalid, "TUF root: the version of the specification", "1.x.y", printable(s.SpecVersion))
	case s.Version < 1 || s.Version > MaxVersion:
		return sigbox.Errorf(sigbox.Invalid, "TUF root: expected a version from 1 to %d, found %d", MaxVersion, s.Version)
	case s.Expires.IsZero() || s.Expires.Nanosecond() != 0:
		return sigbox.Errorf(sigbox.Invalid, "TUF root: expected an end of its validity in whole seconds")
	case !s.Consistent:
		return sigbox.Errorf(sigbox.Invalid, "TUF root: expected consistent snapshots")
	case len(f.Signatures) > 2*MaxKeys:
		return sigbox.Errorf(sigbox.TooLarge, "TUF root: more than %d signatures", 2*MaxKeys)
	}
	seen := map[string]bool{}
	for _, sig := range f.Signatures {
		if seen[sig.KeyID] || !isHex(sig.KeyID, 64) || len(sig.Signature) > 1024 {
			return sigbox.Errorf(sigbox.Invalid, "TUF root: expected signatures of keys by their IDs, each once")
		}
		seen[sig.KeyID] = true
	}
	return nil
}

func isHex(s string, n int) bool {
	return len(s) == n && regexp.MustCompile(`^[0-9a-f]*$`).MatchString(s)
}

// printable is text of a file for a message.
func printable(s string) string {
	if len(s) > 20 || !regexp.MustCompile(`^[ -~]*$`).MatchString(s) {
		return "something else"
	}
	return s
}

// keys reads the keys, each by the ID that it has and in the one form that it has.
func (f *file) keys() (map[string]Key, error) {
	if len(f.Signed.Keys) > 4*MaxKeys {
		return nil, sigbox.Errorf(sigbox.TooLarge, "TUF root: more than %d keys", 4*MaxKeys)
	}
	keys := map[string]Key{}
	for _, id := range slices.Sorted(maps.Keys(f.Signed.Keys)) {
		e := f.Signed.Keys[id]
		if e == nil || e.Type == metadata.KeyTypeEd25519 && !isHex(e.Value.Public, 64) {
			return nil, sigbox.Errorf(sigbox.Invalid, "TUF root: a key that is none")
		}
		written := &metadata.Key{Type: e.Type, Scheme: e.Scheme, Value: metadata.KeyVal{PublicKey: e.Value.Public}}
		pub, err := written.ToPublicKey()
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "TUF root: a key that cannot be read, %.16q", id).WithCause(err)
		}
		key, err := NewKey(pub)
		if err != nil {
			return nil, err
		}
		if key.ID != id || key.written.Value.PublicKey != e.Value.Public || key.written.Type != e.Type || key.written.Scheme != e.Scheme {
			return nil, sigbox.Errorf(sigbox.Invalid, "TUF root: a key that is not written as expected, or under another's ID: %.16q", id)
		}
		keys[id] = key
	}
	return keys, nil
}

// policies reads the four roles. Each key that there is belongs to one.
func (f *file) policies(keys map[string]Key) (map[string]Policy, error) {
	policies, used := map[string]Policy{}, map[string]bool{}
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		r := f.Signed.Roles[name]
		if r == nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "TUF root: it says nothing of the role %s", name)
		}
		p := Policy{Threshold: r.Threshold}
		for _, id := range r.KeyIDs {
			key, ok := keys[id]
			if !ok {
				return nil, sigbox.Errorf(sigbox.Invalid, "TUF root: the role %s names a key that is not there, %.16q", name, id)
			}
			p.Keys, used[id] = append(p.Keys, key), true
		}
		if err := p.check(); err != nil {
			return nil, err
		}
		policies[name] = p
	}
	if len(f.Signed.Roles) != len(policies) || len(used) != len(keys) {
		return nil, sigbox.Errorf(sigbox.Invalid, "TUF root: expected four roles, and no keys besides theirs")
	}
	return policies, nil
}
