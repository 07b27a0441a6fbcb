package cert_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/cert"
)

func parsePrecert(der []byte) error {
	_, err := cert.PrecertTBS(der)
	return err
}

// hostileCertificates have an outline that is right, and too much of something.
func hostileCertificates() []hostile.Input {
	sequence := func(content ...[]byte) []byte { return der(cbasn1.SEQUENCE, content...) }
	extension := func(oid string) []byte {
		return sequence(der(cbasn1.OBJECT_IDENTIFIER, []byte(oid)), der(cbasn1.OCTET_STRING, nil))
	}
	certificate := func(tbs ...[]byte) []byte {
		return sequence(sequence(tbs...), sequence(), der(cbasn1.BIT_STRING, nil))
	}
	extensions := func(list []byte) []byte {
		return certificate(der(cbasn1.Tag(3).ContextSpecific().Constructed(), sequence(list)))
	}
	input := func(name string, make func() []byte) hostile.Input { return hostile.Input{Name: name, Make: make} }
	const most = cert.MaxCertificate - 64
	return append(hostile.DER(cert.MaxCertificate),
		input("extensions", func() []byte { one := extension("\x55\x1d\x11"); return extensions(bytes.Repeat(one, most/len(one))) }),
		input("poisons", func() []byte {
			one := extension("\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x03")
			return extensions(bytes.Repeat(one, most/len(one)))
		}),
		input("elements before the extensions", func() []byte { return certificate(bytes.Repeat([]byte{5, 0}, most/2)) }),
	)
}

// der makes an element.
func der(tag cbasn1.Tag, content ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Join(content, nil)) })
	return b.BytesOrPanic()
}

func TestPrecertLimits(t *testing.T) { hostile.Test(t, parsePrecert, hostileCertificates()...) }

func BenchmarkHostilePrecert(b *testing.B) {
	hostile.Benchmark(b, parsePrecert, hostileCertificates()...)
}

// extended makes a reader of a certificate whose extensions have the input for
// their value.
func extended(read func(*x509.Certificate) error, ids ...asn1.ObjectIdentifier) func([]byte) error {
	return func(value []byte) error {
		var exts []pkix.Extension
		for _, id := range ids {
			exts = append(exts, pkix.Extension{Id: id, Value: value})
		}
		return read(&x509.Certificate{Extensions: exts})
	}
}

func identityOf(c *x509.Certificate) error { _, err := cert.IdentityOf(c); return err }

func sctList(c *x509.Certificate) error { _, err := cert.SCTList(c); return err }

// hostileValues are for extensions: package x509 bounds no certificate.
func hostileValues() []hostile.Input {
	names := func(name string, tag byte, content string) hostile.Input {
		one := append([]byte{tag, byte(len(content))}, content...)
		return hostile.Input{Name: name, Make: func() []byte {
			return der(cbasn1.SEQUENCE, bytes.Repeat(one, hostile.Size/len(one)-8))
		}}
	}
	scts := func(name string, sct []byte) hostile.Input {
		one := append([]byte{byte(len(sct) >> 8), byte(len(sct))}, sct...)
		list := bytes.Repeat(one, 0xffff/len(one))
		return hostile.Input{Name: name, Make: func() []byte {
			return der(cbasn1.OCTET_STRING, []byte{byte(len(list) >> 8), byte(len(list))}, list)
		}}
	}
	sct := make([]byte, 47)
	return append(hostile.DER(1<<16),
		names("email addresses", 0x81, "a@b"), names("URIs", 0x86, "a:b"), names("host names", 0x82, "a"),
		names("empty names", 0x81, ""), names("other names", 0xa0, "\x06\x00"),
		hostile.Input{Name: "one long name", Make: func() []byte {
			return der(cbasn1.SEQUENCE, der(cbasn1.Tag(1).ContextSpecific(), bytes.Repeat([]byte("a"), hostile.Size-16)))
		}},
		hostile.Input{Name: "text", Make: func() []byte { return der(cbasn1.UTF8String, []byte(strings.Repeat("é", hostile.Size/2-8))) }},
		scts("SCTs", sct), scts("empty SCTs", nil),
	)
}

func TestExtensionLimits(t *testing.T) {
	hostile.Test(t, extended(identityOf, asn1.ObjectIdentifier{2, 5, 29, 17}), hostileValues()...)
	hostile.Test(t, extended(identityOf, fulcio(1), fulcio(8)), hostileValues()...)
	hostile.Test(t, extended(sctList, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}), hostileValues()...)
}

func BenchmarkHostileExtension(b *testing.B) {
	hostile.Benchmark(b, extended(identityOf, asn1.ObjectIdentifier{2, 5, 29, 17}), hostileValues()...)
	hostile.Benchmark(b, extended(sctList, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}), hostileValues()...)
}

func splitTile(b []byte) error { _, err := cert.SplitTile(b); return err }

func hostileTiles() []hostile.Input {
	small := string(cert.Entry{Certificate: []byte{1}}.AppendTileLeaf(nil))
	large := string(cert.Entry{Certificate: make([]byte, cert.MaxCertificate), Chain: make([][32]byte, 16)}.AppendTileLeaf(nil))
	return append(hostile.DER(1<<16),
		hostile.Fill("small entries", "", small, ""), hostile.Fill("large entries", "", large, ""),
		hostile.FillTo("as many small entries as are read", 256*len(small), "", small, ""))
}

func TestTileLimits(t *testing.T) { hostile.Test(t, splitTile, hostileTiles()...) }

func BenchmarkHostileTile(b *testing.B) { hostile.Benchmark(b, splitTile, hostileTiles()...) }
