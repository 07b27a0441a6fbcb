package handout

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/trust"
)

func source(t *testing.T) Source {
	t.Helper()
	ca := sigbox.CertificateAuthority{Organization: "box", CommonName: "ca", URI: "https://box.example", Chain: [][]byte{{1}}}
	root, err := trust.AppendRoot(nil, &sigbox.TrustedRoot{CertificateAuthorities: []sigbox.CertificateAuthority{ca}})
	if err != nil {
		t.Fatal(err)
	}
	config, err := trust.AppendSigningConfig(nil, &sigbox.SigningConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return Source{
		Name: "box", Mirror: "https://box.example/tuf", Root: []byte("root 2"),
		Repository: map[string][]byte{"1.root.json": []byte("root 1"), "2.root.json": []byte("root 2"), "timestamp.json": []byte("now")},
		Targets:    map[string][]byte{TrustedRootTarget: root, SigningConfigTarget: config},
	}
}

func TestAll(t *testing.T) {
	documents, left := source(t).All()
	if len(left) > 0 {
		t.Fatal(left)
	}
	var names []string
	for _, d := range documents {
		names = append(names, d.Name)
	}
	want := []string{
		"client_trust_config.json", "root.json", "signing_config.v0.2.json", "trusted_root.json", "trustroot-keys.json",
		"trustroot-remote.json", "trustroot-repository.json", "tuf/1.root.json", "tuf/2.root.json", "tuf/timestamp.json", "SHA256SUMS",
	}
	if !slices.Equal(names, want) {
		t.Errorf("expected %v, found %v", want, names)
	}
	sums := documents[len(documents)-1].Data
	if n := bytes.Count(sums, []byte("\n")); n != len(documents)-1 || !bytes.Contains(sums, []byte("  tuf/timestamp.json\n")) {
		t.Errorf("unexpected checksums\n%s", sums)
	}
}

// TestLeftOut: what an instance does not publish keeps nothing else back.
func TestLeftOut(t *testing.T) {
	s := source(t)
	s.Mirror = ""
	delete(s.Targets, SigningConfigTarget)
	documents, left := s.All()
	if len(left) != 3 {
		t.Errorf("expected three documents less, found %v", left)
	}
	if !slices.ContainsFunc(documents, func(d Document) bool { return d.Name == TrustedRootTarget }) {
		t.Error("the trusted root is left out, too")
	}
}

func TestFormat(t *testing.T) {
	s := source(t)
	for _, name := range Formats() {
		if b, err := s.Format(name); err != nil || len(b) == 0 {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := s.Format("pgp"); sigbox.KindOf(err) != sigbox.Invalid || err == nil {
		t.Errorf("expected Invalid, found %v", err)
	}
	s.Targets[ECDSATrustedRootTarget] = s.Targets[TrustedRootTarget]
	if b, err := s.Format("trustroot-remote"); err != nil || !bytes.Contains(b, []byte(ECDSATrustedRootTarget)) {
		t.Errorf("policy-controller is not led to the trusted root that it can read: %s, %v", b, err)
	}
}

func TestWriteDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := source(t)
	documents, _ := s.All()
	for range 2 {
		if err := WriteDir(dir, documents); err != nil {
			t.Fatal(err)
		}
	}
	s.Repository["3.root.json"], s.Repository["timestamp.json"] = []byte("root 3"), []byte("later")
	documents, _ = s.All()
	if err := WriteDir(dir, documents); err != nil {
		t.Fatal(err)
	}
	for _, d := range documents {
		if b, err := os.ReadFile(filepath.Join(dir, d.Name)); err != nil || !bytes.Equal(b, d.Data) {
			t.Errorf("%s: %q, %v", d.Name, b, err)
		}
	}

	s.Repository["1.root.json"] = []byte("another")
	documents, _ = s.All()
	if err := WriteDir(dir, documents); sigbox.KindOf(err) != sigbox.Conflict || err == nil {
		t.Errorf("another instance's documents were mixed in: %v", err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteDir(other, documents); sigbox.KindOf(err) != sigbox.Conflict || err == nil {
		t.Errorf("somebody else's directory was used: %v", err)
	}
}

func TestWriteTarFile(t *testing.T) {
	documents, _ := source(t).All()
	for _, name := range []string{"t.tar", "t.tar.gz", "t.tgz"} {
		path := filepath.Join(t.TempDir(), name)
		if err := WriteTarFile(path, documents); err != nil {
			t.Fatal(err)
		}
		if err := WriteTarFile(path, documents); sigbox.KindOf(err) != sigbox.Conflict || err == nil {
			t.Errorf("a file was overwritten: %v", err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(name, "gz") {
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		archive := tar.NewReader(r)
		for _, d := range documents {
			h, err := archive.Next()
			if err != nil || h.Name != d.Name {
				t.Fatalf("expected %s, found %v, %v", d.Name, h, err)
			}
			if b, err := io.ReadAll(archive); err != nil || !bytes.Equal(b, d.Data) {
				t.Errorf("%s: %q, %v", d.Name, b, err)
			}
		}
		if _, err := archive.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("expected the end, found %v", err)
		}
	}
}
