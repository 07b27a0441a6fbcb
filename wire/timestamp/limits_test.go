package timestamp_test

import (
	"bytes"
	"crypto/elliptic"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// verifier reads a response as far as it goes, and verifies it.
func verifier(tb testing.TB) (read func([]byte) error, response []byte) {
	a := newAuthority(tb, ecdsaKey(tb, elliptic.P384()))
	trusted, err := timestamp.NewAuthority(a.trusted())
	if err != nil {
		tb.Fatal(err)
	}
	return func(der []byte) error {
		_, err := trusted.Verify(der, signature)
		return err
	}, a.respond(tb, nil, now)
}

// hostileResponses are DER of all kinds, and a good response that is blown up at
// its seams.
func hostileResponses(response []byte) []hostile.Input {
	const most = timestamp.MaxResponse
	input := func(name string, make func() []byte) hostile.Input { return hostile.Input{Name: name, Make: make} }
	sequence := func(content ...[]byte) []byte { return element(asn1.SEQUENCE, content...) }
	granted := element(asn1.INTEGER, []byte{0})
	return append(hostile.DER(most),
		input("texts", func() []byte {
			text := element(asn1.UTF8String, []byte("a"))
			return sequence(sequence(granted, sequence(bytes.Repeat(text, most/4/len(text)))))
		}),
		input("a long text of a refusal", func() []byte {
			return timestamp.Reject(timestamp.BadRequest, strings.Repeat("\xff", most-64)).Marshal()
		}),
		input("certificates", func() []byte { return bloated(response, most) }),
	)
}

func element(tag asn1.Tag, content ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(content, nil)) })
	return b.BytesOrPanic()
}

// bloated repeats the certificate in a response until it has about size bytes.
func bloated(response []byte, size int) []byte {
	in := cryptobyte.String(response)
	var resp, status, token, oid, explicit, sd, version, algorithms, content, certs cryptobyte.String
	context0 := asn1.Tag(0).ContextSpecific().Constructed()
	if !in.ReadASN1(&resp, asn1.SEQUENCE) || !resp.ReadASN1Element(&status, asn1.SEQUENCE) || !resp.ReadASN1(&token, asn1.SEQUENCE) ||
		!token.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) || !token.ReadASN1(&explicit, context0) || !explicit.ReadASN1(&sd, asn1.SEQUENCE) ||
		!sd.ReadASN1Element(&version, asn1.INTEGER) || !sd.ReadASN1Element(&algorithms, asn1.SET) || !sd.ReadASN1Element(&content, asn1.SEQUENCE) ||
		!sd.ReadASN1(&certs, context0) {
		panic("not a response with certificates")
	}
	many := bytes.Repeat(certs, (size-len(response)-64)/len(certs))
	signed := element(asn1.SEQUENCE, version, algorithms, content, element(context0, many), sd)
	return element(asn1.SEQUENCE, status, element(asn1.SEQUENCE, oid, element(context0, signed)))
}

func TestLimits(t *testing.T) {
	read, response := verifier(t)
	if err := read(bloated(response, timestamp.MaxResponse)); err != nil {
		t.Errorf("certificates that nobody looks at: %v", err)
	}
	hostile.Test(t, read, hostileResponses(response)...)
}

func BenchmarkHostile(b *testing.B) {
	read, response := verifier(b)
	hostile.Benchmark(b, read, hostileResponses(response)...)
}

func parseRequest(b []byte) error {
	_, err := timestamp.ParseRequest(b)
	return err
}

func parseJSONRequest(b []byte) error {
	_, err := timestamp.ParseJSONRequest(b)
	return err
}

func hostileJSONRequests() []hostile.Input {
	const doc = `{"artifactHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","hashAlgorithm":"sha256","nonce":@}`
	return append(slices.Concat(hostile.JSON(), hostile.Member("nonce", doc)),
		hostile.FillTo("a nonce as long as is read", timestamp.MaxJSONRequest, strings.TrimSuffix(doc, "@}"), "9", "}"),
		hostile.FillTo("a policy as long as is read", timestamp.MaxJSONRequest, strings.TrimSuffix(doc, `nonce":@}`)+`tsaPolicyOID":"1`, ".1", `"}`))
}

func TestRequestLimits(t *testing.T) {
	hostile.Test(t, parseRequest, hostile.DER(timestamp.MaxRequest)...)
	hostile.Test(t, parseJSONRequest, hostileJSONRequests()...)
}

func BenchmarkHostileRequest(b *testing.B) {
	hostile.Benchmark(b, parseRequest, hostile.DER(timestamp.MaxRequest)...)
	hostile.Benchmark(b, parseJSONRequest, hostileJSONRequests()...)
}

// TestAuthorityLimits: a trust root's certificates are no better than their reader.
func TestAuthorityLimits(t *testing.T) {
	hostile.Test(t, func(der []byte) error {
		_, err := timestamp.NewAuthority(sigbox.CertificateAuthority{Chain: [][]byte{der, der}})
		return err
	}, hostile.DER(64<<10)...)
}
