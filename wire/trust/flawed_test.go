package trust

import (
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/flawed"
)

// TestFlaws: trust roots and signing configs that are wrong at any place are
// refused.
func TestFlaws(t *testing.T) {
	t.Parallel()
	for _, mediaType := range []string{MediaTypeRootV01, MediaTypeRootV02} {
		good, err := AppendRoot(nil, root(mediaType))
		if err != nil {
			t.Fatal(err)
		}
		flawed.TestJSON(t, func(b []byte) error { _, err := ParseRoot(b); return err }, string(good), "*/hashAlgorithm: a number", "*/keyDetails: a number")
	}
	service := []sigbox.Service{{URL: "https://ca.example", MajorAPIVersion: 1, ValidFor: sigbox.TimeRange{Start: at("2026-01-01"), End: at("2027-01-01")}, Operator: "example"}}
	good, err := AppendSigningConfig(nil, &sigbox.SigningConfig{
		CAs: service, OIDC: service, Logs: service, TSAs: service,
		LogSelector: sigbox.Selector{Mode: "EXACT", Count: 1}, TSASelector: sigbox.Selector{Mode: "ANY"},
	})
	if err != nil {
		t.Fatal(err)
	}
	flawed.TestJSON(t, func(b []byte) error { _, err := ParseSigningConfig(b); return err }, string(good))
}
