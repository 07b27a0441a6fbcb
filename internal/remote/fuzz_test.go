package remote

import (
	"testing"

	"github.com/sigbox/sigbox"
)

// FuzzAnswers: whatever a server answers becomes a value within bounds or an
// error of kind Invalid.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(entryV1JSON))
	f.Add([]byte("[" + entryV1JSON + "]"))
	f.Add([]byte(`{"signedCertificateEmbeddedSct":{"chain":{"certificates":[` + quoted(pemOf("leaf")) + `]}}}`))
	f.Add([]byte(`{"signedCertificateDetachedSct":{"chain":{"certificates":[` + quoted(pemOf("leaf")) + `]}}}`))
	f.Add([]byte(`{"code":3,"message":"no","details":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		chain, err := parseChain(request{}, body)
		if err == nil && (len(chain) == 0 || len(chain) > maxChain) || err != nil && sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%d certificates, %v", len(chain), err)
		}
		if _, err := parseEntryV1(request{}, body); err != nil && sigbox.KindOf(err) != sigbox.Invalid {
			t.Error(err)
		}
		found, err := parseFoundV1(request{}, body)
		if k := sigbox.Invalid; len(found) > maxFound || err != nil && sigbox.KindOf(err) != k && sigbox.KindOf(err) != sigbox.TooLarge {
			t.Errorf("%d entries, %v", len(found), err)
		}
		if reason := reasonOf(response{body: body}); len(reason) > 2*maxReason {
			t.Errorf("a reason of %d bytes", len(reason))
		}
	})
}
