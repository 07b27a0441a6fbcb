package bundle

import (
	"testing"

	"github.com/sigbox/sigbox/internal/flawed"
)

// TestFlaws: a bundle that is wrong at any place is refused.
func TestFlaws(t *testing.T) {
	t.Parallel()
	logged := []string{"*/logIndex: a number", "*/integratedTime: a number", "*/treeSize: a number", "*/canonicalizedBody: long", "*/signedEntryTimestamp: long"}
	for name, c := range map[string]struct {
		good string
		may  []string
	}{
		"0.1": {doc("0.1", chain+","+entries(head, proof, promise), message), logged},
		"0.3": {doc("0.3", cert+`,"timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"MAA="}]},`+entries(head, proof, promise), dsse), append(logged, "/dsseEnvelope/payload: long")},
		"key": {doc("0.3", key, message), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flawed.TestJSON(t, parse, c.good, c.may...)
		})
	}
}
