package trust

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

// controllerResource is what policy-controller reads of a TrustRoot.
type controllerResource struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Remote, Repository *struct {
			Root              []byte `json:"root"`
			Mirror            string `json:"mirror"`
			MirrorFS          []byte `json:"mirrorFS"`
			Targets           string `json:"targets"`
			TrustedRootTarget string `json:"trustedRootTarget"`
		}
		SigstoreKeys *struct {
			CertificateAuthorities, TimestampAuthorities []struct {
				Subject   struct{ Organization, CommonName string }
				URI       string
				CertChain []byte
			}
			TLogs, CTLogs []struct {
				BaseURL, HashAlgorithm string
				PublicKey              []byte
			}
		}
	} `json:"spec"`
}

func readResource(t *testing.T, r Resource) controllerResource {
	t.Helper()
	b, err := r.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var out controllerResource
	if err := d.Decode(&out); err != nil {
		t.Fatal(err)
	}
	if out.APIVersion != "policy.sigstore.dev/v1alpha1" || out.Kind != "TrustRoot" || out.Metadata.Name != r.Name {
		t.Errorf("unexpected resource %s", b)
	}
	return out
}

func TestResourceRemote(t *testing.T) {
	r := readResource(t, Resource{Name: "box.example", Root: []byte(`{}`), Mirror: "https://box.example/tuf", Target: "trusted_root.json"}).Spec.Remote
	if r == nil || string(r.Root) != `{}` || r.Mirror != "https://box.example/tuf" || r.Targets != "targets" || r.TrustedRootTarget != "trusted_root.json" {
		t.Errorf("unexpected source %+v", r)
	}
}

// TestResourceRepository reads the repository as policy-controller does: what one Read
// gives of a file is all that it gets.
func TestResourceRepository(t *testing.T) {
	files := map[string][]byte{}
	for i := range 20 {
		name := strings.Repeat("n", i) + ".json"
		files["targets/"+strings.Repeat("a", 64)+"."+name] = bytes.Repeat([]byte(name), 1+i*1500/len(name))
	}
	files["1.root.json"] = bytes.Repeat([]byte("r"), maxMirrorFile)
	files["targets/"+strings.Repeat("long", 32)] = []byte("x")
	r := readResource(t, Resource{Name: "box", Root: []byte(`{}`), Files: files, Target: "t"}).Spec.Repository
	z, err := gzip.NewReader(bytes.NewReader(r.MirrorFS))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(z)
	found := 0
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		want, ok := files[strings.TrimPrefix(h.Name, "repository/")]
		if !ok {
			t.Fatalf("unexpected file %s", h.Name)
		}
		found++
		data := make([]byte, h.Size)
		if _, err := archive.Read(data); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(data, want) {
			t.Errorf("%s is cut or damaged: %v", h.Name, err)
		}
	}
	if found != len(files) {
		t.Errorf("expected %d files, found %d", len(files), found)
	}
}

// TestResourceKeys: logs that the controller refuses all of a trusted root for are not
// in it.
func TestResourceKeys(t *testing.T) {
	full := root(MediaTypeRootV01)
	full.Logs = append(full.Logs, full.Logs[0])
	full.Logs[0].Details, full.Logs[1].Details = sigbox.Ed25519, sigbox.ECDSAP256SHA256
	keys := readResource(t, Resource{Name: "box", Keys: full}).Spec.SigstoreKeys
	if keys == nil || len(keys.TLogs) != 1 || len(keys.CTLogs) != len(full.CTLogs) ||
		len(keys.CertificateAuthorities) != len(full.CertificateAuthorities) || len(keys.TimestampAuthorities) != len(full.TimestampAuthorities) {
		t.Fatalf("unexpected source %+v", keys)
	}
	ca := keys.CertificateAuthorities[0]
	if ca.Subject.Organization == "" || ca.Subject.CommonName == "" || ca.URI == "" || !bytes.HasPrefix(ca.CertChain, []byte("-----BEGIN CERTIFICATE-----\n")) {
		t.Errorf("unexpected authority %+v", ca)
	}
	if l := keys.TLogs[0]; l.HashAlgorithm != "sha256" || !bytes.HasPrefix(l.PublicKey, []byte("-----BEGIN PUBLIC KEY-----\n")) {
		t.Errorf("unexpected log %+v", l)
	}
	if len(full.Logs) < 2 {
		t.Error("the trusted root itself was changed")
	}
}

func TestResourceRefused(t *testing.T) {
	nameless, unnamed, placeless := root(MediaTypeRootV01), root(MediaTypeRootV01), root(MediaTypeRootV01)
	nameless.TimestampAuthorities[0].Organization = ""
	unnamed.CertificateAuthorities[0].CommonName = ""
	placeless.TimestampAuthorities[0].URI = ""
	for what, r := range map[string]Resource{
		"no name":        {Root: []byte(`{}`), Mirror: "https://box.example", Target: "t"},
		"upper case":     {Name: "Box", Root: []byte(`{}`), Mirror: "https://box.example", Target: "t"},
		"a dash first":   {Name: "-box", Root: []byte(`{}`), Mirror: "https://box.example", Target: "t"},
		"two dots":       {Name: "a..b", Root: []byte(`{}`), Mirror: "https://box.example", Target: "t"},
		"no root":        {Name: "box", Mirror: "https://box.example", Target: "t"},
		"no mirror":      {Name: "box", Root: []byte(`{}`), Target: "t"},
		"no target":      {Name: "box", Root: []byte(`{}`), Mirror: "https://box.example"},
		"no authorities": {Name: "box", Keys: &sigbox.TrustedRoot{}},
		"no subject":     {Name: "box", Keys: nameless},
		"no common name": {Name: "box", Keys: unnamed},
		"no URI":         {Name: "box", Keys: placeless},
		"a long name":    {Name: strings.Repeat("a", 254), Root: []byte(`{}`), Mirror: "https://box.example", Target: "t"},
		"a large file":   {Name: "box", Root: []byte(`{}`), Files: map[string][]byte{"1.root.json": make([]byte, maxMirrorFile+1)}, Target: "t"},
	} {
		if b, err := r.Append(nil); err == nil {
			t.Errorf("%s: expected an error, found %s", what, b)
		}
	}
}

func TestClientTrustConfig(t *testing.T) {
	trusted, err := AppendRoot(nil, root(MediaTypeRootV01))
	if err != nil {
		t.Fatal(err)
	}
	config, err := AppendSigningConfig(nil, &sigbox.SigningConfig{LogSelector: sigbox.Selector{Mode: "ANY"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := AppendClientTrustConfig(nil, trusted, config)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		MediaType                  string
		TrustedRoot, SigningConfig json.RawMessage
	}
	if err := json.Unmarshal(b, &read); err != nil {
		t.Fatal(err)
	}
	if read.MediaType != MediaTypeClientTrustConfig || !bytes.Equal(read.TrustedRoot, trusted) || !bytes.Equal(read.SigningConfig, config) {
		t.Errorf("unexpected document %s", b)
	}
	for _, bad := range [][2][]byte{{config, config}, {trusted, trusted}, {nil, config}, {trusted, nil}} {
		if _, err := AppendClientTrustConfig(nil, bad[0], bad[1]); err == nil {
			t.Errorf("%s and %s were accepted", bad[0], bad[1])
		}
	}
}
