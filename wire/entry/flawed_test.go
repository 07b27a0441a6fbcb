package entry_test

import (
	"testing"

	"github.com/sigbox/sigbox/internal/flawed"
	"github.com/sigbox/sigbox/wire/entry"
)

// TestFlaws: bodies and entries that are wrong at any place are refused.
func TestFlaws(t *testing.T) {
	// What the size of a body or entry bounds, and numbers in either form.
	may := map[string][]string{
		"hashedrekord 0.0.1": {"*/content: long"},
		"hashedrekord 0.0.2": {"*/content: long", "*/rawBytes: long", "*/keyDetails: a number"},
		"dsse 0.0.1":         {"*/signature: long"},
		"dsse 0.0.2":         {"*/content: long", "*/rawBytes: long", "*/keyDetails: a number"},
		"intoto 0.0.2":       {"*/payload: long", "*/keyid: long"},
	}
	for name, good := range bodies() {
		t.Run(name, func(t *testing.T) {
			flawed.TestJSON(t, func(b []byte) error { _, err := entry.ParseBody(b); return err }, good, may[name]...)
		})
	}
	t.Run("log entry", func(t *testing.T) {
		hash := b64(bodyHash.Value)
		good := `{"logIndex":"7","logId":{"keyId":"` + hash + `"},"kindVersion":{"kind":"dsse","version":"0.0.1"},"integratedTime":"1700000000",` +
			`"inclusionPromise":{"signedEntryTimestamp":"c2V0"},"inclusionProof":{"logIndex":"5","rootHash":"` + hash + `","treeSize":"9","hashes":["` + hash + `"],"checkpoint":{"envelope":"x"}},"canonicalizedBody":"e30="}`
		flawed.TestJSON(t, func(b []byte) error { _, err := entry.ParseLogEntry(b); return err }, good,
			"*/logIndex: a number", "/integratedTime: a number", "*/treeSize: a number", "/canonicalizedBody: long", "*/signedEntryTimestamp: long")
	})
}
