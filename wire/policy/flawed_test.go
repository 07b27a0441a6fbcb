package policy_test

import (
	"testing"

	"github.com/sigbox/sigbox/internal/flawed"
	"github.com/sigbox/sigbox/wire/policy"
)

// TestFlaws: a policy that is wrong at any place is refused.
func TestFlaws(t *testing.T) {
	t.Parallel()
	flawed.TestJSON(t, func(b []byte) error { _, err := policy.Parse(b); return err }, `{
		"identities": [{"subject": "ada@example.com", "issuer": "https://id.example", "extensions": {"sourceRepositoryRef": "refs/heads/main"}, "extensionsRegExp": {"buildTrigger": "push|tag"}}],
		"threshold": 1,
		"predicateTypes": ["https://slsa.dev/provenance/v1"],
		"conditions": ["predicate.a == 7"],
		"digests": ["gitCommit:da39a3ee5e6b4b0d3255bfef95601890afd80709"],
		"signed": {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"},
		"demands": {"logEntries": 1, "times": 2, "scts": 1}
	}`)
}

// TestOddYAML: what YAML can say in more ways than one is refused.
func TestOddYAML(t *testing.T) {
	t.Parallel()
	const good = "identities:\n- subject: ada@example.com\n  issuer: https://id.example\n"
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"as it should be": {good, true},
		"nothing":         {"", false},
		"a comment":       {"# nothing\n", false},
		"a document mark": {"---\n", false},
		"an anchor":       {"identities: &a\n- subject: ada@example.com\n  issuer: https://id.example\n", false},
		"an alias":        {"predicateTypes: &a [x]\ndigests: *a\n" + good, false},
		"a comma":         {good + "signed: {start: '2026-01-01T00:00:00,5Z'}\n", false},
		"a dot":           {good + "signed: {start: '2026-01-01T00:00:00.5Z'}\n", true},
		"a great number":  {good + "threshold: 99999999999999999999\n", false},
	} {
		if _, err := policy.Parse([]byte(c.text)); (err == nil) != c.ok {
			t.Errorf("%s: found %v", name, err)
		}
	}
}
