package verify_test

import (
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
)

// BenchmarkVerify measures parsing and verifying: cold with a new Verifier for
// each bundle, warm with another certificate each time, and repeated with one
// that was seen.
func BenchmarkVerify(b *testing.B) {
	w := sigboxtest.New(b)
	for name, o := range map[string]sigboxtest.Options{"v1": {Kind: "hashedrekord 0.0.1", NoTimestamp: true}, "v2": {}} {
		const many = 1024 // more certificates than a Verifier remembers
		files := make([][]byte, many)
		for i := range files {
			var err error
			if files[i], err = bundle.Append(nil, w.Sign(artifact, o)); err != nil {
				b.Fatal(err)
			}
		}
		judge := func(b *testing.B, v *verify.Verifier, file []byte) {
			parsed, err := bundle.Parse(file)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := v.Verify(verify.Bytes(artifact), parsed, ada()); err != nil {
				b.Fatal(err)
			}
		}
		root := w.Root()
		v := verifier(b, root)
		b.Run(name+"/cold", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				judge(b, verifier(b, []*sigbox.TrustedRoot{root}...), files[0])
			}
		})
		b.Run(name+"/warm", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				judge(b, v, files[i%many])
			}
		})
		b.Run(name+"/repeated", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				judge(b, v, files[0])
			}
		})
	}
}
