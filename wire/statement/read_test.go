package statement

import (
	"reflect"
	"strings"
	"testing"
)

// FuzzRead: what is read at once is read the same by the one who judges, and what is
// not he refuses, unless it has long names.
func FuzzRead(f *testing.F) {
	const good = `{"_type":"` + TypeV1 + `","subject":[{"name":"app","digest":{"sha256":"00","sha512":"11"},"annotations":{"a":1}}],"predicateType":"p","predicate":{"a":[1,{"b":null}]}}`
	f.Add([]byte(good))
	for _, change := range [][2]string{
		{`{"a"`, ` { "a"`}, {`"p"`, `"p\u00e9"`}, {`"p"`, `null`}, {`"p"`, `7`}, {`"subject"`, `"\u0073ubject"`}, {`"predicate"`, `"other":[],"predicate"`}, {`"predicate"`, `"Predicate"`},
		{`"predicate":{`, `"predicate":null,"x":{`}, {`"_type"`, `"predicateType":"q","_type"`}, {`"b":`, `"b":1,"b":`}, {`"sha512"`, `"sha256"`}, {`"app"`, `"\ud800"`}, {`[{"name"`, `{"name"`}, {`}}`, `}}}`}, {`}}`, `}`},
		{`{"a":1}`, `7`}, {`"name"`, `"digest":{},"name"`}, {`"name":"app"`, `"name":null`}, {`{"sha256":"00","sha512":"11"}`, `null`}, {`"00"`, `null`}, {`"00"`, `1`}, {`[{"name"`, `[null,{"name"`}, {`"name"`, `"` + strings.Repeat("x", maxName) + `":1,"name"`},
	} {
		f.Add([]byte(strings.Replace(good, change[0], change[1], 1)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s, ok := read(in)
		want, err := judge(in)
		if ok != (err == nil) && (ok || len(in) <= maxName) {
			t.Fatalf("%q: read at once: %v; judged: %v", in, ok, err)
		}
		if ok && !reflect.DeepEqual(s, want) {
			t.Fatalf("%q: read at once %+v, judged %+v", in, s, want)
		}
	})
}
