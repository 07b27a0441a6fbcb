package cosign_test

import (
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cosign"
	intoto "github.com/sigbox/sigbox/wire/statement"
)

// TestAppendStatement: the statement is about the image and attests nothing.
func TestAppendStatement(t *testing.T) {
	t.Parallel()
	d := sigbox.SHA256.Sum([]byte("manifest"))
	for want, annotations := range map[string]map[string]string{
		`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + d.Hex() + `"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`:                                          nil,
		`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + d.Hex() + `"},"annotations":{"a\"":"<b>","env":"prod"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`: {"env": "prod", `a"`: "<b>"},
	} {
		got := cosign.AppendStatement(nil, d, annotations)
		if string(got) != want {
			t.Errorf("found %s, expected %s", got, want)
		}
		s, err := intoto.Parse(got)
		if err != nil || s.PredicateType != sigbox.CosignSignPredicateType || s.Subjects[0].Digests["sha256"] != d.Hex() {
			t.Errorf("read back: %+v, %v", s, err)
		}
	}
}
