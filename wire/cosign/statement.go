package cosign

import (
	"maps"
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
	"github.com/sigbox/sigbox/wire/statement"
)

// AppendStatement writes the in-toto statement that cosign signs of an image since it
// signs statements: of type [sigbox.CosignSignPredicateType], with nothing attested.
// Annotations are what the signer adds to the subject.
//
// Source: sigstore/cosign, specs/BUNDLE_SPEC.md and cmd/cosign/cli/sign.
func AppendStatement(dst []byte, image sigbox.Digest, annotations map[string]string) []byte {
	e := protojson.NewEncoder(dst)
	e.Document(func() {
		e.String("_type", statement.TypeV1)
		e.Array("subject", func() {
			e.Object("", func() {
				e.Object("digest", func() { e.String(image.Algorithm.String(), image.Hex()) })
				if len(annotations) == 0 {
					return
				}
				e.Object("annotations", func() {
					for _, name := range slices.Sorted(maps.Keys(annotations)) {
						e.String(name, annotations[name])
					}
				})
			})
		})
		e.String("predicateType", sigbox.CosignSignPredicateType)
		e.Object("predicate", func() {})
	})
	return e.Done()
}
