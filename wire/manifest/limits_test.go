package manifest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/manifest"
)

func parse(b []byte) error {
	_, err := manifest.Parse(b)
	return err
}

// inputs are hostile as a whole and at each place of a manifest, also just below the
// bound on its size.
func inputs() []hostile.Input {
	at := func(name, doc string) []hostile.Input {
		before, after, _ := strings.Cut(doc, "@")
		return append(hostile.Member(name, doc),
			hostile.FillTo("many names in "+name, manifest.MaxSize, before+"{", `"#":0,`, `"":0}`+after),
			hostile.FillTo("many texts in "+name, manifest.MaxSize, before+"{", `"#":"",`, `"":""}`+after),
			hostile.FillTo("many lists in "+name, manifest.MaxSize, before+"[", `[],`, `[]]`+after),
			hostile.FillTo("many objects in "+name, manifest.MaxSize, before+"[", `{},`, `{}]`+after))
	}
	return slices.Concat(hostile.JSON(),
		at("annotations", `{"schemaVersion":2,"annotations":@}`),
		at("layers", `{"schemaVersion":2,"layers":@}`),
		at("manifests", `{"schemaVersion":2,"manifests":@}`),
		at("config", `{"schemaVersion":2,"config":@}`),
		at("digest", `{"schemaVersion":2,"config":{"digest":@}}`),
		at("an unknown member", `{"schemaVersion":2,"x":@}`),
	)
}

func TestLimits(t *testing.T) { hostile.Test(t, parse, inputs()...) }

func BenchmarkHostile(b *testing.B) { hostile.Benchmark(b, parse, inputs()...) }
