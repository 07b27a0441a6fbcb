package statement_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/statement"
)

// hostileInputs are up to 16 MB each, at every place of a statement that can be long:
// also in ones that are good, and in ones that turn out to be bad at their end.
func hostileInputs() []hostile.Input {
	const predicate = `"predicate":{"a":[1,{"b":null}]}`
	inWhole := strings.Replace(good, predicate, `"predicate":@`, 1)
	inSubject := strings.Replace(good, `"name":"app"`, `"name":"app","annotations":@`, 1)
	inputs := slices.Concat(hostile.JSON(), hostile.Member("predicate", inWhole), hostile.Member("annotations", inSubject))
	for place, doc := range map[string]string{"predicate": inWhole, "annotations": inSubject} {
		before, after, _ := strings.Cut(doc, "@")
		for what, name := range map[string]string{"long names": strings.Repeat("x", 300), "long names of escapes": strings.Repeat(`\u0061`, 50)} {
			unit := `"` + name + `#":0,`
			inputs = append(inputs,
				hostile.Fill(place+": "+what, before+"{", unit, `"last":0}`+after),
				hostile.Fill(place+": "+what+", and one twice", before+"{", unit, `"last":0,"last":0}`+after))
		}
	}
	return inputs
}

func parse(b []byte) error {
	_, err := statement.Parse(b)
	return err
}

func TestLimits(t *testing.T) { hostile.Test(t, parse, hostileInputs()...) }

func BenchmarkHostile(b *testing.B) { hostile.Benchmark(b, parse, hostileInputs()...) }
