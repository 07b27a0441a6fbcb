package parts

import (
	"encoding/hex"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
)

// Host is another host whose part is asked for, as the settings name it.
type Host struct {
	// URL is where the host is, without a path.
	URL string `yaml:"url"`
	// Key is the digest of the key that signs its part, as its host.yaml has it:
	// "sha256:" and hexadecimal digits.
	Key string `yaml:"key"`
	// Roles are those that it has: its part may speak of no others.
	Roles []string `yaml:"roles"`
	// CAFile holds the certificates, PEM, that its TLS must lead to, in the place of those
	// that the machine trusts.
	CAFile string `yaml:"ca-file,omitempty"`
}

// keyPrefix begins the digest of a key.
const keyPrefix = "sha256:"

// Check refuses what cannot be meant, but for the names of roles.
func (h *Host) Check() error {
	u, err := url.Parse(h.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return sigbox.Mismatch(sigbox.Invalid, "hosts: a host cannot be there", "http or https and a host, without a path", h.URL)
	}
	digest, ok := strings.CutPrefix(h.Key, keyPrefix)
	if b, err := hex.DecodeString(digest); !ok || err != nil || len(b) != 32 || strings.ToLower(digest) != digest {
		return sigbox.Mismatch(sigbox.Invalid, "hosts: the key of "+h.URL, "sha256: and 64 hexadecimal digits in lower case", h.Key).
			WithHint("copy the host's entry from the file host.yaml in its data directory")
	}
	if len(h.Roles) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "hosts: the roles of %s are missing: of what it has no role nothing is believed", h.URL)
	}
	if h.CAFile != "" && (!filepath.IsAbs(h.CAFile) || u.Scheme != "https") {
		return sigbox.Errorf(sigbox.Invalid, "hosts: ca-file: expected an absolute path, for a host whose URL is https")
	}
	return nil
}

// The roles that a part can speak of, by their names in the settings.
const (
	roleCA, roleCTLog, roleLog, roleLogV1 = "ca", "ctlog", "log", "log-v1"
	roleTSA, roleTUF, roleOIDC            = "tsa", "tuf", "oidc"
)

// allows refuses a statement that speaks of more than the host's roles: whoever has the
// key of a part, or the host, can have nothing else trusted than what the host has anyway.
func (h *Host) allows(s *Statement) error {
	needs := map[string]bool{
		roleCA:    len(s.Root.CertificateAuthorities) > 0 || len(s.Signing.CAs) > 0,
		roleCTLog: len(s.Root.CTLogs) > 0,
		roleTSA:   len(s.Root.TimestampAuthorities) > 0 || len(s.Signing.TSAs) > 0,
		roleOIDC:  len(s.Signing.OIDC) > 0,
		roleTUF:   s.TUF != nil,
	}
	for _, l := range s.Root.Logs {
		needs[[]string{roleLog, roleLogV1}[older(l)]] = true
	}
	for _, l := range s.Signing.Logs {
		needs[map[bool]string{true: roleLogV1, false: roleLog}[l.MajorAPIVersion == 1]] = true
	}
	for _, role := range []string{roleCA, roleCTLog, roleLog, roleLogV1, roleTSA, roleTUF, roleOIDC} {
		if needs[role] && !slices.Contains(h.Roles, role) {
			return sigbox.Errorf(sigbox.Denied, "the part of %s speaks of the role %s, which the settings do not give it", h.URL, role).
				WithHint("if it is to have that role, add it to the host's roles under \"hosts\"")
		}
	}
	return nil
}
