package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// TestStatementForms: a statement is read in one way alone, whoever has signed it.
func TestStatementForms(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	digest := fmt.Sprintf(`{"sha256":%q}`, sigbox.SHA256.Sum(artifact).Hex())
	statement := func(subject string) string {
		return `{"_type":"https://in-toto.io/Statement/v1","subject":` + subject + `,"predicateType":"https://example.com/p","predicate":{}}`
	}
	for name, c := range map[string]struct {
		payload string
		step    verify.Step // 0 is accepted
		want    string
	}{
		"as it should be":         {statement(`[{"name":"a","digest":` + digest + `}]`), 0, ""},
		"v0.1":                    {strings.Replace(statement(`[{"digest":`+digest+`}]`), "Statement/v1", "Statement/v0.1", 1), 0, ""},
		"members of tomorrow":     {strings.Replace(statement(`[{"digest":`+digest+`,"uri":"x"}]`), `{"_type"`, `{"more":[1],"_type"`, 1), 0, ""},
		"cut":                     {statement(`[]`)[:40], verify.StepStatement, "ends early"},
		"subjects in an object":   {statement(`{"name":"a","digest":` + digest + `}`), verify.StepStatement, "expected a list"},
		"a number for subjects":   {statement(`7`), verify.StepStatement, "expected a list"},
		"no subjects":             {statement(`[]`), verify.StepStatement, "no subject"},
		"null for subjects":       {statement(`null`), verify.StepStatement, "expected a list"},
		"a list for a subject":    {statement(`[[]]`), verify.StepStatement, "not an in-toto statement"},
		"a text for a subject":    {statement(`["a"]`), verify.StepStatement, "not an in-toto statement"},
		"a text behind":           {statement(`[{"digest":` + digest + `},"a"]`), verify.StepStatement, "not an in-toto statement"},
		"a name of another kind":  {statement(`[{"name":7,"digest":` + digest + `}]`), verify.StepStatement, "not an in-toto statement"},
		"a list of digests":       {statement(`[{"digest":["sha256"]}]`), verify.StepStatement, "expected an object"},
		"a text for digests":      {statement(`[{"digest":"sha256"}]`), verify.StepStatement, "expected an object"},
		"null for digests":        {statement(`[{"digest":null}]`), verify.StepStatement, "expected an object"},
		"a number for a digest":   {statement(`[{"digest":{"sha256":7}}]`), verify.StepStatement, "not an in-toto statement"},
		"an object for a digest":  {statement(`[{"digest":{"sha256":{}}}]`), verify.StepStatement, "not an in-toto statement"},
		"no digests":              {statement(`[{"digest":{}}]`), verify.StepStatement, "has no digest"},
		"a subject of nothing":    {statement(`[{"digest":` + digest + `},{"name":"a"}]`), verify.StepStatement, "subject 2 has no digest"},
		"a digest twice":          {statement(`[{"digest":{"sha256":"00","sha256":"00"}}]`), verify.StepStatement, "not an in-toto statement"},
		"open":                    {statement(`[{"digest":` + digest + `}`), verify.StepStatement, "not an in-toto statement"},
		"open digests":            {strings.Replace(statement(`[{"digest":`+digest+`}]`), `"}}]`, `"}]`, 1), verify.StepStatement, "not an in-toto statement"},
		"digests of no known sum": {statement(`[{"digest":{"sha1":"00"}}]`), verify.StepArtifact, "none of the statement's 1 subjects has a digest"},
		"another artifact's":      {statement(`[{"digest":{"sha256":"00"}}]`), verify.StepArtifact, "carries the artifact's digest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := v.Verify(verify.Bytes(artifact), w.Attest([]byte(c.payload), sigboxtest.Options{}), ada())
			if verify.FailedStep(err) != c.step || (err == nil) != (c.step == 0) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("found %v, expected %v, %q", err, c.step, c.want)
			}
		})
	}
}
