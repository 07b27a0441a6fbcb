package trust

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/flawed"
)

func clientConfig(t testing.TB) (*ClientTrustConfig, []byte) {
	t.Helper()
	c := &ClientTrustConfig{
		Root: root(MediaTypeRootV01),
		Signing: &sigbox.SigningConfig{
			MediaType: MediaTypeSigningConfigV02, LogSelector: sigbox.Selector{Mode: "ANY"},
			Logs: []sigbox.Service{{URL: "https://log.example", MajorAPIVersion: 2, ValidFor: sigbox.TimeRange{Start: at("2026-01-01")}, Operator: "example"}},
		},
	}
	b, err := appendClientConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, b
}

func appendClientConfig(c *ClientTrustConfig) ([]byte, error) {
	root, err := AppendRoot(nil, c.Root)
	if err != nil {
		return nil, err
	}
	config, err := AppendSigningConfig(nil, c.Signing)
	if err != nil {
		return nil, err
	}
	return AppendClientTrustConfig(nil, root, config)
}

// TestParseClientTrustConfig: what is written is read as the same; half of one is refused.
func TestParseClientTrustConfig(t *testing.T) {
	want, b := clientConfig(t)
	got, err := ParseClientTrustConfig(b)
	if err != nil {
		t.Fatal(err)
	}
	written, err := appendClientConfig(got)
	if err != nil || string(written) != string(b) {
		t.Errorf("%s\n%s\n%v", b, written, err)
	}
	if diff := cmp.Diff(want.Signing, got.Signing); diff != "" {
		t.Error(diff)
	}
	for old, odd := range map[string]string{
		MediaTypeClientTrustConfig: "application/json",
		MediaTypeRootV01:           "application/json",
		MediaTypeSigningConfigV02:  mediaTypeSigningConfigV01,
		`"signingConfig"`:          `"signing"`,
	} {
		if _, err := ParseClientTrustConfig([]byte(strings.Replace(string(b), old, odd, 1))); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v", odd, err)
		}
	}
	if _, err := ParseClientTrustConfig([]byte(strings.Replace(string(b), MediaTypeSigningConfigV02, "application/json", 1))); err == nil || !strings.Contains(err.Error(), "media type") {
		t.Errorf("a signing config of another type: found %v", err)
	}
	typeless := `{"mediaType":"` + MediaTypeClientTrustConfig + `","trustedRoot":{"mediaType":"` + MediaTypeRootV01 + `"},"signingConfig":{}}`
	if _, err := ParseClientTrustConfig([]byte(typeless)); err == nil || !strings.Contains(err.Error(), "signing config: unknown media type") {
		t.Errorf("a signing config of no type: found %v", err)
	}
	if _, err := ParseClientTrustConfig(append(b, bytes.Repeat([]byte(" "), MaxSize)...)); err == nil || sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("expected it to be too large, found %v", err)
	}
	signingAlone := `{"mediaType":"` + MediaTypeClientTrustConfig + `","signingConfig":{"mediaType":"` + MediaTypeSigningConfigV02 + `"}}`
	for _, half := range []string{signingAlone, `{"mediaType":"` + MediaTypeClientTrustConfig + `"}`, `{"mediaType":"` + MediaTypeClientTrustConfig + `","trustedRoot":{"mediaType":"` + MediaTypeRootV01 + `"}}`} {
		if _, err := ParseClientTrustConfig([]byte(half)); err == nil || !strings.Contains(err.Error(), "only one of them or none") {
			t.Errorf("%s: found %v", half, err)
		}
	}
}

func TestFlawedClientTrustConfig(t *testing.T) {
	t.Parallel()
	_, good := clientConfig(t)
	flawed.TestJSON(t, func(b []byte) error { _, err := ParseClientTrustConfig(b); return err }, string(good), "*/hashAlgorithm: a number", "*/keyDetails: a number")
}

// FuzzParseClientTrustConfig: what is read is JSON, also to encoding/json, and what is
// written again is read the same.
func FuzzParseClientTrustConfig(f *testing.F) {
	_, good := clientConfig(f)
	f.Add(good)
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := ParseClientTrustConfig(in)
		if err != nil {
			return
		}
		if !json.Valid(in) {
			t.Fatal("encoding/json reads it not")
		}
		c.Root.MediaType = MediaTypeRootV02 // in which nothing is left out
		out, err := appendClientConfig(c)
		if err != nil {
			return // logs of unknown algorithms, services of version 0
		}
		again, err := ParseClientTrustConfig(out)
		if err != nil {
			t.Fatalf("written but not read: %v\n%s", err, out)
		}
		trimURLs(c.Root)
		if diff := cmp.Diff(c.Root, again.Root, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}
