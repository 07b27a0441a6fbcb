package statement_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/statement"
)

const (
	subject = `{"name":"app","digest":{"sha256":"00"}}`
	good    = `{"_type":"https://in-toto.io/Statement/v1","subject":[` + subject + `],"predicateType":"https://example.com/p","predicate":{"a":[1,{"b":null}]}}`
)

func TestParse(t *testing.T) {
	t.Parallel()
	want := &statement.Statement{
		Type: statement.TypeV1, PredicateType: "https://example.com/p",
		Subjects:  []statement.Subject{{Name: "app", Digests: map[string]string{"sha256": "00"}}},
		Predicate: []byte(`{"a":[1,{"b":null}]}`),
	}
	for name, in := range map[string]string{
		"plain":           good,
		"spaces":          " " + strings.ReplaceAll(good, ",", " ,\n") + "\n",
		"unknown members": strings.Replace(good, `"_type"`, `"extra":{"x":1},"_type"`, 1),
		"an escaped name": strings.Replace(good, `"subject"`, `"\u0073ubject"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := statement.Parse([]byte(in))
			if err != nil {
				t.Fatal(err)
			}
			got.Predicate = compact(t, got.Predicate)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What else is said of a subject stays as it was signed, whatever it is.
func TestAnnotations(t *testing.T) {
	t.Parallel()
	for _, said := range []string{`{"env":"prod"}`, `{"a": [1, "b"]}`, `null`, `"text"`, `7`} {
		got, err := statement.Parse([]byte(strings.Replace(good, `"name":"app"`, `"name":"app","annotations":`+said, 1)))
		if err != nil {
			t.Fatalf("%s: %v", said, err)
		}
		if found := string(got.Subjects[0].Annotations); found != said {
			t.Errorf("found %s, expected %s", found, said)
		}
	}
	for _, bad := range []string{`{"a":1,"a":2}`, `{`} {
		if got, err := statement.Parse([]byte(strings.Replace(good, `"name":"app"`, `"name":"app","annotations":`+bad, 1))); err == nil {
			t.Errorf("%s: read %v", bad, got)
		}
	}
}

func compact(t *testing.T, b []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sigstore-ruby GHSA-mhg6-2q2v-9h2c: what is no statement was taken for one.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	many := func(n int, one func(int) string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(one(i))
		}
		return b.String()
	}
	for name, c := range map[string]struct{ in, want string }{
		"nothing":                      {"", "ends early"},
		"text":                         {"hello", "not an in-toto statement"},
		"a list":                       {"[" + good + "]", "not an in-toto statement"},
		"cut":                          {good[:len(good)-1], "ends early"},
		"more behind":                  {good + "{}", "not an in-toto statement"},
		"twice":                        {strings.Replace(good, `"subject"`, `"predicateType":"x","subject"`, 1), "stands twice"},
		"twice in the predicate":       {strings.Replace(good, `"a":`, `"a":1,"a":`, 1), "stands twice"},
		"twice in digests":             {strings.Replace(good, `"sha256":"00"`, `"sha256":"00","sha256":"01"`, 1), "stands twice"},
		"another type":                 {strings.Replace(good, "Statement/v1", "Statement/v2", 1), "_type"},
		"no type":                      {strings.Replace(good, `"_type"`, `"_Type"`, 1), "_type"},
		"no predicate type":            {strings.Replace(good, `"predicateType"`, `"predicatetype"`, 1), "no predicate type"},
		"no subjects":                  {strings.Replace(good, `[`+subject+`]`, `[]`, 1), "no subject"},
		"subjects that are no list":    {strings.Replace(good, `[`+subject+`]`, subject, 1), "expected a list"},
		"no digest":                    {strings.Replace(good, `{"sha256":"00"}`, `{}`, 1), "subject 1 has no digest"},
		"digests that are no object":   {strings.Replace(good, `{"sha256":"00"}`, `["00"]`, 1), "expected an object"},
		"a digest that is a number":    {strings.Replace(good, `"sha256":"00"`, `"sha256":0`, 1), "not an in-toto statement"},
		"too many subjects":            {strings.Replace(good, subject, many(statement.MaxSubjects+1, func(int) string { return subject }), 1), "more than 1024 subjects"},
		"too many digests":             {strings.Replace(good, `"sha256":"00"`, many(statement.MaxDigests+1, func(i int) string { return fmt.Sprintf(`"%d":"00"`, i) }), 1), "more than 32 digests"},
		"too many names":               {strings.Replace(good, `"a":`, many(1<<17, func(i int) string { return fmt.Sprintf(`"%d":0`, i) })+`,"a":`, 1), "members"},
		"too many names, one in other": {strings.Replace(good, `"a":`, many(1<<15, func(i int) string { return fmt.Sprintf(`"%d":0`, i) })+`,"x":{`+many(1<<15, func(i int) string { return fmt.Sprintf(`"%d":0`, i) })+`,"y":0},"a":`, 1), "members"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := statement.Parse([]byte(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("found %.300v, expected an error with %q", err, c.want)
			}
			if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Errorf("kind %v", k)
			}
		})
	}
	// As many as that in lists, one object after the other, are an SBOM.
	sbom := strings.Replace(good, `"a":`, `"packages":[`+many(1<<16, func(i int) string { return fmt.Sprintf(`{"name":"%d","v":1}`, i) })+`],"a":`, 1)
	if _, err := statement.Parse([]byte(sbom)); err != nil {
		t.Errorf("a large SBOM: %v", err)
	}
}

// FuzzParse: no input panics, and encoding/json reads the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, "Statement/v1", "Statement/v0.1", 1)))
	f.Add([]byte(strings.Replace(good, `"a"`, `"\u00e9\ud83d\ude00"`, 1)))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := statement.Parse(in)
		if err != nil {
			return
		}
		var std struct {
			Type          string `json:"_type"`
			PredicateType string `json:"predicateType"`
			Subject       []struct {
				Name   string            `json:"name"`
				Digest map[string]string `json:"digest"`
			} `json:"subject"`
		}
		var exact map[string]json.RawMessage
		if err := json.Unmarshal(in, &exact); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		for name, dst := range map[string]any{"_type": &std.Type, "predicateType": &std.PredicateType, "subject": &std.Subject} {
			if err := json.Unmarshal(exact[name], dst); err != nil {
				t.Fatalf("encoding/json refuses %s: %v", name, err)
			}
		}
		if std.Type != got.Type || std.PredicateType != got.PredicateType || len(std.Subject) != len(got.Subjects) {
			t.Fatalf("encoding/json reads %+v, we read %+v", std, got)
		}
		for i, s := range std.Subject {
			if diff := cmp.Diff(s.Digest, got.Subjects[i].Digests); diff != "" {
				t.Error(diff)
			}
		}
	})
}
