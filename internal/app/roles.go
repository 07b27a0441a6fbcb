package app

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
)

// Role is a part of an instance that a host may have without the others.
type Role string

// The roles. An instance has all of them, on one host or on several.
const (
	RoleCA    Role = "ca"     // the certificate authority
	RoleCTLog Role = "ctlog"  // the log of its certificates
	RoleLog   Role = "log"    // the transparency log, Rekor v2
	RoleLogV1 Role = "log-v1" // that of Rekor v1
	RoleTSA   Role = "tsa"    // the timestamp authority
	RoleTUF   Role = "tuf"    // the TUF repository
	RoleOIDC  Role = "oidc"   // the OpenID provider
)

// Roles are all roles.
func Roles() []Role {
	return []Role{RoleCA, RoleCTLog, RoleLog, RoleLogV1, RoleTSA, RoleTUF, RoleOIDC}
}

// keys names the keys that a role needs.
func (r Role) keys() []string {
	switch r {
	case RoleCA:
		return []string{caKey, caRootKey}
	case RoleCTLog:
		return []string{ctLogKey}
	case RoleLog:
		return []string{rekorKey}
	case RoleLogV1:
		return []string{rekorV1Key}
	case RoleTSA:
		return []string{tsaKey, tsaRootKey}
	case RoleTUF:
		return []string{tufKey, tufRootKey}
	case RoleOIDC:
		return []string{oidcKey}
	}
	return nil
}

// roleOf gives the role that a key is for, of any generation.
func roleOf(key string) Role {
	for _, r := range Roles() {
		if slices.Contains(r.keys(), roleKey(key)) {
			return r
		}
	}
	return ""
}

func checkRoles(roles []Role) error {
	for i, r := range roles {
		if !slices.Contains(Roles(), r) {
			return sigbox.Errorf(sigbox.Invalid, "only: there is no role %.40q: expected some of %s", r, joinRoles(Roles()))
		}
		if slices.Contains(roles[:i], r) {
			return sigbox.Errorf(sigbox.Invalid, "only: %s is named twice", r)
		}
	}
	return nil
}

func joinRoles(roles []Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// has reports whether this host has a role.
func (s *Settings) has(r Role) bool { return len(s.Only) == 0 || slices.Contains(s.Only, r) }

// roles are those that this host has.
func (s *Settings) roles() []Role {
	return slices.DeleteFunc(Roles(), func(r Role) bool { return !s.has(r) })
}

// begun reports whether a role was begun on this directory at an earlier start, so that
// its keys have been seen.
func (s state) begun(r Role) bool {
	return s.Complete && (len(s.Roles) == 0 || slices.Contains(s.Roles, r))
}

// begin notes that these roles have come to the end of a start, besides those that had
// before. A directory on which all have has none on record.
func (a *App) begin(roles []Role) error {
	old := a.state.get()
	began := slices.DeleteFunc(Roles(), func(r Role) bool { return !slices.Contains(roles, r) && !old.begun(r) })
	if len(began) == len(Roles()) {
		began = nil
	}
	if old.Complete && slices.Equal(old.Roles, began) {
		return nil
	}
	return a.state.change(func(s *state) { s.Roles, s.Complete = began, true })
}

// Only gives the roles of this host, in words; "" if it has all.
func (a *App) Only() string {
	if len(a.settings.Only) == 0 {
		return ""
	}
	return joinRoles(a.settings.roles())
}

// PartFile is the path of what the instance's other hosts have to know of this one.
func (a *App) PartFile() string { return filepath.Join(a.cfg.Data, partFile) }

// HostFile is the path of how the settings of the instance's other hosts name this one.
func (a *App) HostFile() string { return filepath.Join(a.cfg.Data, hostFile) }

// elsewhere refuses what only a host with a role can do.
func elsewhere(r Role, what string) error {
	return sigbox.Errorf(sigbox.NotFound, "this host has no %s", what).WithHint("ask on the host that has the role %s", r)
}
