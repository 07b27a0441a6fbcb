package trust

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"maps"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// Resource is a TrustRoot, by which policy-controller is told in a cluster whom to
// trust. Exactly one of its sources is set.
//
// Source: sigstore/policy-controller, pkg/apis/policy/v1alpha1.
type Resource struct {
	// Name is the resource's, a DNS subdomain (RFC 1123).
	Name string
	// Root is the TUF root that trust in Mirror or Files begins at.
	Root []byte
	// Mirror is the URL of a TUF repository that the controller follows.
	Mirror string
	// Files are a TUF repository by their paths in it; the controller asks nobody.
	Files map[string][]byte
	// Target is the trusted root in that repository, by its name.
	Target string
	// Keys is a trusted root whose keys are written out. Of its logs those are left out
	// whose keys the controller cannot use, see [OnlyECDSA].
	Keys *sigbox.TrustedRoot
}

// OnlyECDSA gives root without logs whose keys are not ECDSA. policy-controller refuses
// all of a trusted root that lists another.
func OnlyECDSA(root *sigbox.TrustedRoot) *sigbox.TrustedRoot {
	only := *root
	only.Logs = slices.DeleteFunc(slices.Clone(root.Logs), func(l sigbox.TransparencyLog) bool {
		switch l.Details {
		case sigbox.ECDSAP256SHA256, sigbox.ECDSAP384SHA384, sigbox.ECDSAP521SHA512:
			return false
		}
		return true
	})
	return &only
}

// Append writes the resource as JSON, which kubectl takes as it takes YAML. The error is
// of kind Invalid when it lacks what the controller needs.
func (r Resource) Append(dst []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	e := protojson.NewEncoder(dst)
	e.Document(func() {
		e.String("apiVersion", "policy.sigstore.dev/v1alpha1")
		e.String("kind", "TrustRoot")
		e.Object("metadata", func() { e.String("name", r.Name) })
		e.Object("spec", func() { r.source(e) })
	})
	return append(e.Done(), '\n'), nil
}

func (r Resource) check() error {
	if !validResourceName(r.Name) {
		return sigbox.Mismatch(sigbox.Invalid, "a TrustRoot cannot have this name", "a DNS name of lower-case letters, digits, - and .", r.Name)
	}
	switch {
	case r.Keys != nil:
		return checkKeys(r.Keys)
	case len(r.Root) == 0 || r.Target == "" || r.Files == nil && r.Mirror == "":
		return sigbox.Errorf(sigbox.Invalid, "a TrustRoot with a TUF repository needs its root, where it is, and which target is the trusted root")
	}
	for name, data := range r.Files {
		if len(data) > maxMirrorFile {
			return sigbox.Errorf(sigbox.TooLarge, "policy-controller cuts files of a repository at %d bytes, and %.80q has %d", maxMirrorFile, name, len(data)).
				WithHint("use the TrustRoot that follows the repository by its URL")
		}
	}
	return nil
}

// maxMirrorFile is how much the controller reads of a file in a repository, in bytes.
const maxMirrorFile = 31 << 10

// checkKeys holds a trusted root to what the controller wants of authorities.
func checkKeys(root *sigbox.TrustedRoot) error {
	if len(root.CertificateAuthorities) == 0 && len(root.TimestampAuthorities) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "a TrustRoot with keys needs a certificate authority or a timestamp authority")
	}
	for _, ca := range slices.Concat(root.CertificateAuthorities, root.TimestampAuthorities) {
		if ca.Organization == "" || ca.CommonName == "" || ca.URI == "" {
			return sigbox.Errorf(sigbox.Invalid, "a TrustRoot with keys needs organization, common name and URI of each authority, and that of %.80q has not all of them", ca.URI).
				WithHint("use the TrustRoot with the repository")
		}
	}
	return nil
}

// validResourceName holds a name to RFC 1123.
func validResourceName(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789-."
	return name != "" && len(name) <= 253 && strings.Trim(name, allowed) == "" && !strings.Contains(name, "..") &&
		strings.Trim(name, "-.") == name
}

func (r Resource) source(e *protojson.Encoder) {
	repository := func(members func()) func() {
		return func() {
			e.Bytes("root", r.Root)
			members()
			e.String("targets", "targets")
			e.String("trustedRootTarget", r.Target)
		}
	}
	switch {
	case r.Keys != nil:
		e.Object("sigstoreKeys", func() { appendKeys(e, OnlyECDSA(r.Keys)) })
	case r.Files != nil:
		e.Object("repository", repository(func() { e.Bytes("mirrorFS", mirrorFS(r.Files)) }))
	default:
		e.Object("remote", repository(func() { e.String("mirror", r.Mirror) }))
	}
}

func appendKeys(e *protojson.Encoder, root *sigbox.TrustedRoot) {
	authorities := func(field string, list []sigbox.CertificateAuthority) {
		e.Array(field, func() {
			for _, ca := range list {
				e.Object("", func() {
					e.Object("subject", func() {
						e.String("organization", ca.Organization)
						e.String("commonName", ca.CommonName)
					})
					e.String("uri", ca.URI)
					e.Bytes("certChain", encodePEM("CERTIFICATE", ca.Chain...))
				})
			}
		})
	}
	logs := func(field string, list []sigbox.TransparencyLog) {
		e.Array(field, func() {
			for _, l := range list {
				e.Object("", func() {
					e.String("baseURL", l.BaseURL)
					e.String("hashAlgorithm", l.HashAlgorithm.String())
					e.Bytes("publicKey", encodePEM("PUBLIC KEY", l.PublicKey))
				})
			}
		})
	}
	authorities("certificateAuthorities", root.CertificateAuthorities)
	logs("tLogs", root.Logs)
	logs("ctLogs", root.CTLogs)
	authorities("timestampAuthorities", root.TimestampAuthorities)
}

func encodePEM(kind string, blocks ...[]byte) (out []byte) {
	for _, der := range blocks {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return out
}

// mirrorFS packs a repository as the controller unpacks it: a tar below "repository/",
// compressed by gzip. Each file is a member of its own (RFC 1952 §2.2): the controller
// takes what one Read gives, which ends with a member, or after 32 KiB of one, of which
// headers take some.
func mirrorFS(files map[string][]byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	archive := tar.NewWriter(z)
	// Nothing of this fails: it is written to memory, and sizes are true.
	add := func(header tar.Header, data []byte) {
		_ = archive.WriteHeader(&header)
		_, _ = archive.Write(data)
		_ = archive.Flush()
		_ = z.Close()
		z.Reset(&out)
	}
	for _, dir := range []string{"repository/", "repository/targets/"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, nil)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add(tar.Header{Typeflag: tar.TypeReg, Name: "repository/" + name, Mode: 0o644, Size: int64(len(files[name]))}, files[name])
	}
	_ = archive.Close()
	_ = z.Close()
	return out.Bytes()
}
