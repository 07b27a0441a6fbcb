package remote

import (
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
)

// maxTUFKeys bounds keys, key IDs and signatures in one metadata file: each may
// cost a signature check.
const maxTUFKeys = 64

// tufShape is what is looked at before the TUF library sees a metadata file. The
// library takes JSON that names a member twice or has null where an object belongs.
type tufShape struct {
	Signatures []struct {
		KeyID string `json:"keyid"`
		Sig   string `json:"sig"`
	} `json:"signatures"`
	Signed struct {
		Type    string              `json:"_type"`
		Version int64               `json:"version"`
		Expires time.Time           `json:"expires"`
		Keys    map[string]*tufKey  `json:"keys"`
		Roles   map[string]*tufRole `json:"roles"`
		Meta    map[string]*tufMeta `json:"meta"`
		Targets map[string]*tufFile `json:"targets"`
	} `json:"signed"`
}

type tufKey struct {
	Type  string `json:"keytype"`
	Value struct {
		Public string `json:"public"`
	} `json:"keyval"`
}

type tufRole struct {
	KeyIDs    []string `json:"keyids"`
	Threshold int      `json:"threshold"`
}

type tufMeta struct {
	Version int64 `json:"version"`
	Length  int64 `json:"length"`
}

type tufFile struct {
	Length int64             `json:"length"`
	Hashes map[string]string `json:"hashes"`
}

// checkTUF checks that data is well-formed metadata of a role.
func checkTUF(data []byte, role string) error {
	var m tufShape
	if err := decodeJSON(data, &m); err != nil {
		return sigbox.Errorf(sigbox.Invalid, "it is not TUF metadata: %w", err)
	}
	ok := m.Signed.Type == role && m.Signed.Version > 0 && !m.Signed.Expires.IsZero() && len(m.Signatures) <= maxTUFKeys
	switch role {
	case metadata.ROOT:
		ok = ok && m.validKeys() && m.validRoles()
	case metadata.TIMESTAMP:
		ok = ok && m.validMeta("snapshot.json")
	case metadata.SNAPSHOT:
		ok = ok && m.validMeta("targets.json")
	case metadata.TARGETS:
		ok = ok && m.validTargets()
	}
	if !ok {
		return sigbox.Errorf(sigbox.Invalid, "it is malformed TUF metadata of the role %s", role)
	}
	return nil
}

func (m *tufShape) validKeys() bool {
	for _, k := range m.Signed.Keys {
		if k == nil || k.Type == metadata.KeyTypeEd25519 && len(k.Value.Public) != 64 {
			return false
		}
	}
	return len(m.Signed.Keys) <= maxTUFKeys
}

// validRoles wants the four roles, each with a threshold that can be met and no
// key twice.
func (m *tufShape) validRoles() bool {
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		if m.Signed.Roles[name] == nil {
			return false
		}
	}
	for _, r := range m.Signed.Roles {
		if r == nil || r.Threshold < 1 || r.Threshold > len(r.KeyIDs) || len(r.KeyIDs) > maxTUFKeys {
			return false
		}
		for i, id := range r.KeyIDs {
			if slices.Contains(r.KeyIDs[:i], id) {
				return false
			}
		}
	}
	return true
}

func (m *tufShape) validMeta(want string) bool {
	for _, f := range m.Signed.Meta {
		if f == nil || f.Version < 1 || f.Length < 0 {
			return false
		}
	}
	return m.Signed.Meta[want] != nil
}

func (m *tufShape) validTargets() bool {
	for _, f := range m.Signed.Targets {
		if f == nil || f.Length < 0 || len(f.Hashes) == 0 {
			return false
		}
	}
	return true
}
