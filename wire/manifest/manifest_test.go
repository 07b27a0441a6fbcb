package manifest_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/manifest"
)

const (
	digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	config = `{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + digest + `","size":2}`
	image  = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/x","config":` + config +
		`,"layers":[{"mediaType":"application/x","digest":"` + digest + `","size":5,"annotations":{"a":"b"},"urls":["https://a.example"]}],"subject":` + config + `,"annotations":{"c":"d","e":"f"}}`
	index = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digest +
		`","size":7,"platform":{"architecture":"arm64","os":"linux","variant":"v8","os.features":["x"]}}],"later":{"x":[1,2]}}`
)

// TestRoundTrip: what is read and written again is the same, with what nobody knows.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{"image": image, "index": index} {
		m, err := manifest.Parse([]byte(in))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, err := manifest.Append([]byte("> "), m)
		if err != nil || string(out) != "> "+in {
			t.Errorf("%s: %v\n%s", name, err, cmp.Diff(in, string(out)))
		}
	}
}

// TestEmptyLists: what a manifest must have it has, if it be empty.
func TestEmptyLists(t *testing.T) {
	t.Parallel()
	config := manifest.Describe(manifest.TypeEmpty, manifest.Empty())
	for want, m := range map[string]*manifest.Manifest{
		`"manifests":[]`: {SchemaVersion: 2, MediaType: manifest.TypeIndex},
		`"layers":[]`:    {SchemaVersion: 2, MediaType: manifest.TypeImage, Config: &config},
	} {
		if b, err := manifest.Append(nil, m); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("found %s, %v", b, err)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	m, err := manifest.Parse([]byte(image))
	if err != nil {
		t.Fatal(err)
	}
	if m.IsIndex() || m.Kind() != "application/x" || m.Layers[0].Annotations["a"] != "b" || m.Subject.Size != 2 {
		t.Errorf("found %+v", m)
	}
	m, err = manifest.Parse([]byte(index))
	if err != nil {
		t.Fatal(err)
	}
	if p := m.Manifests[0].Platform.String(); !m.IsIndex() || p != "linux/arm64/v8" || m.Manifests[0].Digest.String() != digest {
		t.Errorf("found %+v, %s", m, p)
	}
	for mediaType, isIndex := range map[string]bool{manifest.TypeIndex: true, manifest.TypeDockerIndex: true, manifest.TypeImage: false, manifest.TypeDockerImage: false} {
		if d := (manifest.Descriptor{MediaType: mediaType}); !d.IsManifest() || d.IsIndex() != isIndex {
			t.Errorf("%s: a manifest: %v, an index: %v", mediaType, d.IsManifest(), d.IsIndex())
		}
	}
	for in, want := range map[string]string{
		`{"schemaVersion":2,"layers":null,"config":` + config + `}`: manifest.TypeImage,
		`{"schemaVersion":2,"manifests":[]}`:                        manifest.TypeIndex,
		`{"schemaVersion":2,"config":` + config + `}`:               manifest.TypeImage,
	} {
		m, err := manifest.Parse([]byte(in))
		if err != nil || m.Type() != want {
			t.Errorf("%s: found %v, %v", in, m, err)
		}
	}
	if m := (&manifest.Manifest{Config: &manifest.Descriptor{MediaType: "application/y"}}); m.Kind() != "application/y" {
		t.Errorf("found %s", m.Kind())
	}
	if (*manifest.Platform)(nil).String() != "" {
		t.Error("a platform that is none has a name")
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	replace := func(in, old, by string) string {
		if !strings.Contains(in, old) {
			t.Fatalf("no %s in it", old)
		}
		return strings.Replace(in, old, by, 1)
	}
	annotations := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%d":"",`, i)
		}
		return b.String()
	}
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct {
		in   string
		kind sigbox.Kind
		want string
	}{
		"image and index":       {replace(index, `"later"`, `"config":`+config+`,"later"`), sigbox.Invalid, "both an image and an index"},
		"index with layers":     {replace(image, "image.manifest", "image.index"), sigbox.Invalid, "an index with config"},
		"image without config":  {`{"schemaVersion":2,"mediaType":"` + manifest.TypeImage + `"}`, sigbox.Invalid, "no config"},
		"old schema":            {replace(image, `"schemaVersion":2`, `"schemaVersion":1`), sigbox.Invalid, "schemaVersion"},
		"foreign media type":    {replace(image, "vnd.oci.image.manifest.v1", "json"), sigbox.Invalid, "media type"},
		"name of another case":  {replace(image, `"layers"`, `"Layers"`), 0, ""},
		"a member twice":        {replace(image, `"layers"`, `"config":`+config+`,"layers"`), sigbox.Invalid, "twice"},
		"an unknown one twice":  {replace(index, `"later"`, `"later":1,"later"`), sigbox.Invalid, "twice"},
		"no digest":             {replace(image, `"digest":"`+digest+`",`, ""), sigbox.Invalid, "without digest"},
		"digest in upper case":  {replace(image, digest, strings.ToUpper(digest)), sigbox.Invalid, "/config/digest"},
		"negative size":         {replace(image, `"size":2`, `"size":-1`), sigbox.Invalid, "a size of -1"},
		"no media type":         {replace(image, `"mediaType":"application/vnd.oci.empty.v1+json",`, ""), sigbox.Invalid, "no media type"},
		"long media type":       {replace(image, "application/vnd.oci.empty.v1+json", long), sigbox.TooLarge, "media type of more"},
		"long artifact type":    {replace(image, "application/x", long), sigbox.TooLarge, "artifact type of more"},
		"many annotations":      {replace(image, `"c":"d"`, annotations(300)+`"c":"d"`), sigbox.TooLarge, "annotations"},
		"many of a descriptor":  {replace(image, `"a":"b"`, annotations(300)+`"a":"b"`), sigbox.TooLarge, "annotations"},
		"many layers":           {replace(image, `"layers":[`, `"layers":[`+strings.Repeat(config+",", manifest.MaxDescriptors)), sigbox.TooLarge, "/layers: more than"},
		"a comma too many":      {replace(image, `"urls":["https://a.example"]}]`, `"urls":[]},]`), sigbox.Invalid, "not valid JSON"},
		"a layer is no object":  {replace(image, `"layers":[`, `"layers":[1,`), sigbox.Invalid, "/layers/0: expected"},
		"a digest is no text":   {replace(image, `"digest":"`+digest+`"`, `"digest":1`), sigbox.Invalid, "/config/digest: expected a string"},
		"layers and manifests":  {replace(index, `"later"`, `"layers":[`+config+`],"later"`), sigbox.Invalid, "both an image and an index"},
		"long type of a layer":  {replace(image, `"size":5`, `"size":5,"artifactType":"`+long+`"`), sigbox.TooLarge, "media type of more"},
		"many members":          {replace(index, `[1,2]`, `{`+strings.Repeat(`"":0,`, 1<<17)+`"":0}`), sigbox.TooLarge, "members"},
		"layers are no list":    {replace(image, `"layers":[`, `"layers":{},"x":[`), sigbox.Invalid, "/layers: expected a list"},
		"a list breaks off":     {image[:strings.Index(image, `"layers":[`)+10], sigbox.Invalid, "ends early"},
		"too large":             {image + strings.Repeat(" ", manifest.MaxSize), sigbox.TooLarge, "bytes"},
		"more behind":           {image + "{}", sigbox.Invalid, "not valid JSON"},
		"no JSON":               {"<html>", sigbox.Invalid, "not valid JSON"},
		"nothing":               {"", sigbox.Invalid, "ends early"},
		"a subject without any": {replace(image, `"subject":`+config, `"subject":{}`), sigbox.Invalid, "without digest"},
	} {
		m, err := manifest.Parse([]byte(c.in))
		if c.want == "" {
			if err != nil || len(m.Layers) != 0 {
				t.Errorf("%s: found %v, %v", name, m, err)
			}
			continue
		}
		if err == nil || sigbox.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v", name, err)
		}
	}
	if _, err := manifest.Append(nil, new(manifest.Manifest)); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected nothing that cannot be read to be written", err)
	}
	some := manifest.Describe(manifest.TypeImage, nil)
	many := &manifest.Manifest{SchemaVersion: 2, Manifests: slices.Repeat([]manifest.Descriptor{some}, manifest.MaxDescriptors+1)}
	if _, err := manifest.Append(nil, many); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v", err)
	}
	broken := &manifest.Manifest{SchemaVersion: 2, Other: []byte("{")}
	if b, err := manifest.Append(nil, broken); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %s, %v, expected JSON that is none to be refused", b, err)
	}
	large := &manifest.Manifest{SchemaVersion: 2, Annotations: map[string]string{"a": strings.Repeat("x", manifest.MaxSize)}}
	if _, err := manifest.Append(nil, large); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected nothing larger than registries take", err)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	d := manifest.Describe(manifest.TypeEmpty, manifest.Empty())
	if d.Size != 2 || d.Digest.String() != "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" {
		t.Errorf("found %+v", d)
	}
}

// FuzzParse: what is read can be written, and is the same when it is read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(image))
	f.Add([]byte(index))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := manifest.Parse(in)
		if err != nil {
			if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Fatalf("kind %v: %v", k, err)
			}
			return
		}
		out, err := manifest.Append(nil, m)
		if sigbox.KindOf(orNone(err)) == sigbox.TooLarge {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Parse(out)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		twice, err := manifest.Append(nil, again)
		if err != nil || !bytes.Equal(out, twice) {
			t.Fatalf("%v\n%s\n%s", err, out, twice)
		}
	})
}

// orNone makes a kind of every error, Internal for none.
func orNone(err error) error {
	if err == nil {
		return sigbox.Errorf(sigbox.Internal, "none")
	}
	return err
}
