// Package handout makes the documents by which clients are told to trust an instance,
// each in the form that one of them takes, and writes them.
//
//	documents, left := handout.Source{…}.All()
//	err := handout.WriteDir("trust", documents)
//
// It makes nothing of its own: all that it is given was verified before.
package handout

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/wire/trust"
)

// Targets of a repository that documents are made of.
const (
	TrustedRootTarget   = "trusted_root.json"
	SigningConfigTarget = "signing_config.v0.2.json"
	// ECDSATrustedRootTarget is the trusted root for who cannot read others, see
	// [trust.OnlyECDSA].
	ECDSATrustedRootTarget = "trusted_root.ecdsa.json"
)

const (
	// Checksums is the file that sha256sum checks the others by.
	Checksums = "SHA256SUMS"
	// repositoryDir is where the TUF repository lies.
	repositoryDir = "tuf/"
	timestampFile = repositoryDir + "timestamp.json"
)

// Source is what documents are made of: a TUF repository and what it publishes.
type Source struct {
	// Name is what the resources of Kubernetes are called.
	Name string
	// Mirror is the URL of the TUF repository, "" if those who read cannot reach it.
	Mirror string
	// Root is the TUF root to hand out.
	Root []byte
	// Repository are the files of the TUF repository, by path.
	Repository map[string][]byte
	// Targets are those that it publishes, by name.
	Targets map[string][]byte
}

// Document is a file to hand out.
type Document struct {
	// Name is its path, with slashes.
	Name string
	Data []byte
}

// format is a form of trust that some client takes.
type format struct {
	name, file string
	make       func(Source) ([]byte, error)
}

// formats are all of them; the first is where trust begins.
func formats() []format {
	return []format{
		{"root", "root.json", func(s Source) ([]byte, error) { return s.Root, nil }},
		{"trusted-root", TrustedRootTarget, func(s Source) ([]byte, error) { return s.target(TrustedRootTarget) }},
		{"signing-config", SigningConfigTarget, func(s Source) ([]byte, error) { return s.target(SigningConfigTarget) }},
		{"client-trust-config", "client_trust_config.json", Source.clientTrustConfig},
		{"trustroot-remote", "trustroot-remote.json", Source.remote},
		{"trustroot-repository", "trustroot-repository.json", Source.repository},
		{"trustroot-keys", "trustroot-keys.json", Source.keys},
	}
}

// Formats are the names that [Source.Format] knows.
func Formats() (names []string) {
	for _, f := range formats() {
		names = append(names, f.name)
	}
	return names
}

// Format makes one document. The error is of kind Invalid for a name that there is not.
func (s Source) Format(name string) ([]byte, error) {
	for _, f := range formats() {
		if f.name == name {
			return f.make(s)
		}
	}
	return nil, sigbox.Errorf(sigbox.Invalid, "there is no format %.40q: expected %s", name, strings.Join(Formats(), ", "))
}

// All makes all documents, the repository and, last, the checksums of all. Left are
// those that cannot be made of this source, with the reasons.
func (s Source) All() (documents []Document, left []error) {
	files := map[string][]byte{}
	for path, data := range s.Repository {
		files[repositoryDir+path] = data
	}
	for _, f := range formats() {
		data, err := f.make(s)
		if err != nil {
			left = append(left, sigbox.Errorf(sigbox.KindOf(err), "without %s: %w", f.file, err))
			continue
		}
		files[f.file] = data
	}
	var sums []byte // as sha256sum -c takes them
	for _, name := range slices.Sorted(maps.Keys(files)) {
		documents = append(documents, Document{name, files[name]})
		sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	return append(documents, Document{Checksums, sums}), left
}

func (s Source) target(name string) ([]byte, error) {
	data, ok := s.Targets[name]
	if !ok {
		return nil, sigbox.Errorf(sigbox.NotFound, "the instance does not publish %s", name)
	}
	return data, nil
}

func (s Source) clientTrustConfig() ([]byte, error) {
	root, err := s.target(TrustedRootTarget)
	if err != nil {
		return nil, err
	}
	config, err := s.target(SigningConfigTarget)
	if err != nil {
		return nil, err
	}
	return trust.AppendClientTrustConfig(nil, root, config)
}

func (s Source) remote() ([]byte, error) {
	if s.Mirror == "" {
		return nil, sigbox.Errorf(sigbox.Invalid, "the TUF repository is a directory, which a cluster cannot follow")
	}
	return trust.Resource{Name: s.Name, Root: s.Root, Mirror: s.Mirror, Target: s.forController()}.Append(nil)
}

func (s Source) repository() ([]byte, error) {
	return trust.Resource{Name: s.Name, Root: s.Root, Files: s.Repository, Target: s.forController()}.Append(nil)
}

// forController names the trusted root that policy-controller takes.
func (s Source) forController() string {
	if _, ok := s.Targets[ECDSATrustedRootTarget]; ok {
		return ECDSATrustedRootTarget
	}
	return TrustedRootTarget
}

func (s Source) keys() ([]byte, error) {
	data, err := s.target(TrustedRootTarget)
	if err != nil {
		return nil, err
	}
	root, err := trust.ParseRoot(data)
	if err != nil {
		return nil, err
	}
	return trust.Resource{Name: s.Name, Keys: root}.Append(nil)
}

// WriteDir writes documents into a directory, which is made if need be. One that was
// written before is brought up to date: TUF's timestamp comes after what it leads to,
// the checksums last, and clients that read meanwhile see the old state or the new one.
// Errors: Conflict for a directory that has something else in it, another instance's
// documents among that.
func WriteDir(dir string, documents []Document) error {
	if err := checkDir(dir, documents); err != nil {
		return err
	}
	late := []string{timestampFile, Checksums}
	for _, d := range documents {
		if !slices.Contains(late, d.Name) {
			if err := write(dir, d); err != nil {
				return err
			}
		}
	}
	for _, name := range late {
		for _, d := range documents {
			if d.Name != name {
				continue
			}
			if err := write(dir, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes one document, unless it is there.
func write(dir string, d Document) error {
	path := filepath.Join(dir, filepath.FromSlash(d.Name))
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, d.Data) { // #nosec G304 -- the caller's
		return nil
	}
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return diskError(err)
	}
	if err := atomicfile.Replace(path, d.Data, 0o644); err != nil {
		return diskError(err)
	}
	return nil
}

// checkDir refuses a directory that is neither new nor that of the same instance: the
// roots that it has must be those of documents.
func checkDir(dir string, documents []Document) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return diskError(err)
	}
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(timestampFile))); err != nil {
		return sigbox.Errorf(sigbox.Conflict, "%s has something else in it", dir).WithHint("name a directory that is new, empty, or was written by an export before")
	}
	rootName := regexp.MustCompile(`^tuf/[0-9]+\.root\.json$`)
	for _, d := range documents {
		if !rootName.MatchString(d.Name) {
			continue
		}
		old, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(d.Name))) // #nosec G304 -- the caller's
		if err == nil && !bytes.Equal(old, d.Data) {
			return sigbox.Errorf(sigbox.Conflict, "%s has the trust of another instance: its %s is another", dir, d.Name).WithHint("name another directory")
		}
	}
	return nil
}

// WriteTar writes documents as a tar, with the same bytes for the same documents.
func WriteTar(w io.Writer, documents []Document) error {
	archive := tar.NewWriter(w)
	for _, d := range documents {
		err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: d.Name, Mode: 0o644, Size: int64(len(d.Data))})
		if err == nil {
			_, err = archive.Write(d.Data)
		}
		if err != nil {
			return diskError(err)
		}
	}
	if err := archive.Close(); err != nil {
		return diskError(err)
	}
	return nil
}

// WriteTarFile writes documents into a new file, compressed where its name ends in gz.
func WriteTarFile(path string, documents []Document) error {
	var out bytes.Buffer
	var err error
	if strings.HasSuffix(path, "gz") {
		z := gzip.NewWriter(&out)
		err = errors.Join(WriteTar(z, documents), z.Close())
	} else {
		err = WriteTar(&out, documents)
	}
	if err != nil {
		return err
	}
	if err := atomicfile.Create(path, out.Bytes(), 0o644); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return sigbox.Errorf(sigbox.Conflict, "%s exists", path).WithHint("name a file that does not exist yet")
		}
		return diskError(err)
	}
	return nil
}

func diskError(err error) error { return sigbox.Errorf(sigbox.Internal, "%w", err) }
