package timestamp_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/timestamp"
)

func TestRespondAndVerify(t *testing.T) {
	keys := map[string]crypto.Signer{
		"P-256": ecdsaKey(t, elliptic.P256()), "P-384": ecdsaKey(t, elliptic.P384()), "P-521": ecdsaKey(t, elliptic.P521()), "RSA": rsaKey(t),
	}
	for name, key := range keys {
		for h := sigbox.SHA256; h <= sigbox.SHA512; h++ {
			t.Run(fmt.Sprint(name, " ", h), func(t *testing.T) {
				a := newAuthority(t, key)
				nonce := timestamp.NewNonce([]byte{0xff, 2, 3, 4, 5, 6, 7, 8})
				resp := a.respond(t, func(r *timestamp.Request) { r.Digest, r.Nonce = h.Sum(signature), nonce }, now.Add(time.Millisecond))
				at, err := timestamp.Verify(resp, signature, a.trusted())
				if err != nil {
					t.Fatal(err)
				}
				if !at.Equal(now) {
					t.Errorf("expected %v in whole seconds, found %v", now, at)
				}
				tok, err := timestamp.Parse(resp)
				if err != nil {
					t.Fatal(err)
				}
				if tok.Accuracy != time.Second || !bytes.Equal(tok.Nonce, nonce) || tok.Policy.String() != "1.3.6.1.4.1.57264.2" || tok.SerialNumber().Cmp(big.NewInt(0x80)) != 0 {
					t.Errorf("unexpected token %+v", tok)
				}
			})
		}
	}
}

// The certificate may come along or not: the trust root's is what counts.
func TestEmbeddedCertificateIsOptional(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	with := a.respond(t, nil, now)
	without := a.respond(t, func(r *timestamp.Request) { r.Certificates = false }, now)
	if !bytes.Contains(with, a.chain[0]) || bytes.Contains(without, a.chain[0]) {
		t.Error("certReq was not followed")
	}
	for _, resp := range [][]byte{with, without} {
		if _, err := timestamp.Verify(resp, signature, a.trusted()); err != nil {
			t.Error(err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	resp := a.respond(t, nil, now)
	trusted := a.trusted()

	t.Run("another signature", func(t *testing.T) {
		_, err := timestamp.Verify(resp, []byte("another"), trusted)
		wantKind(t, err, sigbox.NotVerified)
	})
	t.Run("another authority", func(t *testing.T) {
		_, err := timestamp.Verify(resp, signature, newAuthority(t, ecdsaKey(t, elliptic.P256())).trusted())
		wantKind(t, err, sigbox.NotVerified)
	})
	t.Run("before the trust root lists the authority", func(t *testing.T) {
		ca := trusted
		ca.ValidFor.Start = now.Add(time.Second)
		_, err := timestamp.Verify(resp, signature, ca)
		wantKind(t, err, sigbox.NotVerified)
	})
	t.Run("after the trust root lists the authority", func(t *testing.T) {
		ca := trusted
		ca.ValidFor.End = now.Add(-time.Second)
		_, err := timestamp.Verify(resp, signature, ca)
		wantKind(t, err, sigbox.NotVerified)
	})
	t.Run("the end of the period is included", func(t *testing.T) {
		ca := trusted
		ca.ValidFor.End = now
		if _, err := timestamp.Verify(resp, signature, ca); err != nil {
			t.Error(err)
		}
	})
	t.Run("a root that did not sign the leaf", func(t *testing.T) {
		ca := trusted
		ca.Chain = [][]byte{a.chain[0], newAuthority(t, ecdsaKey(t, elliptic.P256())).chain[1]}
		_, err := timestamp.Verify(resp, signature, ca)
		wantKind(t, err, sigbox.NotVerified)
	})
	t.Run("a token that was not parsed", func(t *testing.T) {
		auth, err := timestamp.NewAuthority(trusted)
		if err != nil {
			t.Fatal(err)
		}
		wantKind(t, auth.VerifyToken(&timestamp.Token{Digest: sigbox.SHA256.Sum(signature)}, signature), sigbox.Invalid)
	})
}

// TSA GHSA-xm5m-wgh2-rrg3: constraints were checked on a certificate from the bag
// that the signer did not use. Here a bag cannot bring in a signer at all, whether
// or not its certificate borrows the name and serial number of the trusted one.
func TestGHSA_xm5m_wgh2_rrg3(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	b := newAuthority(t, ecdsaKey(t, elliptic.P256())) // the same names and serial number
	forged := b.respond(t, nil, now)
	_, err := timestamp.Verify(forged, signature, a.trusted())
	wantKind(t, err, sigbox.NotVerified)

	// And the trusted certificate in the bag does not vouch for a foreign signature.
	swapped := bytes.Replace(forged, b.chain[0], a.chain[0], 1)
	if len(a.chain[0]) == len(b.chain[0]) {
		_, err = timestamp.Verify(swapped, signature, a.trusted())
		wantKind(t, err, sigbox.NotVerified)
	}

	// What is in the bag is of no consequence: garbage of the same length.
	genuine := a.respond(t, nil, now)
	garbage := bytes.Replace(genuine, a.chain[0][4:], make([]byte, len(a.chain[0])-4), 1)
	if _, err := timestamp.Verify(garbage, signature, a.trusted()); err != nil {
		t.Error("the bag's certificate was looked at:", err)
	}
}

// Every bit of a token without certificates counts: no change of one goes unnoticed.
func TestEveryBitCounts(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	auth, err := timestamp.NewAuthority(a.trusted())
	if err != nil {
		t.Fatal(err)
	}
	resp := a.respond(t, func(r *timestamp.Request) { r.Certificates = false }, now)
	digestAlgorithms := bytes.Index(resp, []byte("\x02\x01\x03\x31")) // of SignedData: what it lists is not used
	if digestAlgorithms < 0 {
		t.Fatal("no SignedData")
	}
	for i := range resp {
		if i >= digestAlgorithms+5 && i < digestAlgorithms+18 {
			continue
		}
		for bit := range 8 {
			bad := bytes.Clone(resp)
			bad[i] ^= 1 << bit
			if at, err := auth.Verify(bad, signature); err == nil {
				t.Errorf("byte %d bit %d: accepted, time %v", i, bit, at)
			}
		}
	}
}

func TestNewAuthorityRefuses(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	timeStamping := encoding.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	for name, option := range map[string]authorityOption{
		"a CA": func(c, _ *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
		"usage not critical": func(c, _ *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{usage(t, false, timeStamping)}
		},
		"a second usage": func(c, _ *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{usage(t, true, timeStamping, encoding.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3})}
		},
		"an unknown second usage": func(c, _ *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{usage(t, true, timeStamping, encoding.ObjectIdentifier{1, 2, 3, 4})}
		},
		"any usage": func(c, _ *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{usage(t, true, encoding.ObjectIdentifier{2, 5, 29, 37, 0})}
		},
		"something unknown and critical": func(c, _ *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: encoding.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
		},
		"no usage":           func(c, _ *x509.Certificate) { c.ExtraExtensions = nil },
		"not for signatures": func(c, _ *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := timestamp.NewAuthority(newAuthority(t, key, option).trusted())
			wantKind(t, err, sigbox.Invalid)
		})
	}
	for name, chain := range map[string][][]byte{
		"no chain":    nil,
		"leaf alone":  newAuthority(t, key).chain[:1],
		"not DER":     {[]byte("x"), []byte("y")},
		"a long line": make([][]byte, 11),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := timestamp.NewAuthority(sigbox.CertificateAuthority{Chain: chain})
			wantKind(t, err, sigbox.Invalid)
		})
	}
}

// Certificates of an authority expire; what it vouched for before stays. All of
// them count, not the leaf alone.
func TestVerifyAtTheTokensTime(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()), func(_, root *x509.Certificate) { root.NotAfter = now })
	if _, err := timestamp.Verify(a.respond(t, nil, now), signature, a.trusted()); err != nil {
		t.Error(err)
	}
	_, err := timestamp.Verify(a.respond(t, nil, now.Add(time.Second)), signature, a.trusted())
	wantKind(t, err, sigbox.NotVerified)

	never := newAuthority(t, a.key, func(leaf, root *x509.Certificate) {
		leaf.NotBefore, root.NotAfter = now, now.Add(-time.Second)
	})
	_, err = timestamp.Verify(never.respond(t, nil, now), signature, never.trusted())
	wantKind(t, err, sigbox.NotVerified)
}

func TestRespondRefuses(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	s := a.signer(t)
	good := timestamp.Request{Digest: sigbox.SHA256.Sum(signature)}
	for name, c := range map[string]struct {
		change  func(*timestamp.Request)
		at      time.Time
		serial  *big.Int
		kind    sigbox.Kind
		failure timestamp.Failure
	}{
		"policy":        {func(r *timestamp.Request) { r.Policy = encoding.ObjectIdentifier{1, 2, 3} }, now, big.NewInt(1), sigbox.Invalid, timestamp.UnacceptedPolicy},
		"extension":     {func(r *timestamp.Request) { r.Extensions = []byte{0x30, 0} }, now, big.NewInt(1), sigbox.Invalid, timestamp.UnacceptedExtension},
		"digest length": {func(r *timestamp.Request) { r.Digest.Value = r.Digest.Value[1:] }, now, big.NewInt(1), sigbox.Invalid, timestamp.BadDataFormat},
		"too early":     {nil, start.Add(-time.Second), big.NewInt(1), sigbox.Unavailable, timestamp.TimeNotAvailable},
		"too late":      {nil, start.Add(25 * time.Hour), big.NewInt(1), sigbox.Unavailable, timestamp.TimeNotAvailable},
		"serial zero":   {nil, now, new(big.Int), sigbox.Internal, -1},
		"serial long":   {nil, now, new(big.Int).Lsh(big.NewInt(1), 160), sigbox.Internal, -1},
	} {
		t.Run(name, func(t *testing.T) {
			r := good
			if c.change != nil {
				c.change(&r)
			}
			_, err := s.Respond(r, c.at, c.serial)
			wantKind(t, err, c.kind)
			if f, ok := errors.AsType[timestamp.Failure](err); ok && f != c.failure || !ok && c.failure >= 0 {
				t.Errorf("expected reason %v, found %v %v", c.failure, ok, f)
			}
		})
	}
	if _, err := s.Respond(good, now, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 160), big.NewInt(1))); err != nil {
		t.Error("a serial number of 160 bits:", err)
	}
	if _, err := timestamp.NewSigner(timestamp.SignerConfig{Key: ecdsaKey(t, elliptic.P256()), Chain: a.chain}); err == nil {
		t.Error("a key that is not the chain's was accepted")
	}
}

func TestRequestRoundTrip(t *testing.T) {
	for name, r := range map[string]timestamp.Request{
		"least": {Digest: sigbox.SHA256.Sum(signature)},
		"all": {
			Digest: sigbox.SHA512.Sum(signature), Policy: encoding.ObjectIdentifier{1, 3, 6, 1}, Nonce: []byte{0, 0xff}, Certificates: true,
			Extensions: []byte{0x30, 0x07, 0x06, 0x03, 0x2a, 0x03, 0x04, 0x04, 0x00},
		},
		"negative nonce": {Digest: sigbox.SHA384.Sum(signature), Nonce: []byte{0x80}},
	} {
		t.Run(name, func(t *testing.T) {
			der, err := r.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			got, err := timestamp.ParseRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r, got, cmp.AllowUnexported(timestamp.Request{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := (timestamp.Request{}).Marshal(); err == nil {
		t.Error("a request without a digest was encoded")
	}
}

func TestParseRequestRefuses(t *testing.T) {
	good, err := timestamp.Request{Digest: sigbox.SHA256.Sum(signature), Nonce: []byte{1}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		der  []byte
		kind sigbox.Kind
	}{
		"empty":         {nil, sigbox.Invalid},
		"truncated":     {good[:len(good)-1], sigbox.Invalid},
		"trailing":      {append(bytes.Clone(good), 0), sigbox.Invalid},
		"version 2":     {bytes.Replace(good, []byte{2, 1, 1}, []byte{2, 1, 2}, 1), sigbox.Invalid},
		"another hash":  {bytes.Replace(good, []byte("\x65\x03\x04\x02\x01"), []byte("\x65\x03\x04\x02\x04"), 1), sigbox.Invalid},
		"shorter hash":  {bytes.Replace(good, []byte("\x65\x03\x04\x02\x01"), []byte("\x65\x03\x04\x02\x02"), 1), sigbox.Invalid},
		"false encoded": {bytes.Replace(append(bytes.Clone(good), 1, 1, 0), []byte{0x30, good[1]}, []byte{0x30, good[1] + 3}, 1), sigbox.Invalid},
		"long nonce":    {bytes.Replace(append(bytes.Clone(good[:len(good)-3]), 2, 2, 0, 1), []byte{0x30, good[1]}, []byte{0x30, good[1] + 1}, 1), sigbox.Invalid},
		"huge":          {make([]byte, timestamp.MaxRequest+1), sigbox.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := timestamp.ParseRequest(c.der)
			wantKind(t, err, c.kind)
		})
	}
}

func TestParseJSONRequest(t *testing.T) {
	const hash = `"artifactHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","hashAlgorithm":"sha256"`
	r, err := timestamp.ParseJSONRequest([]byte(`{` + hash + `,"certificates":true,"nonce":255,"tsaPolicyOID":"1.3.6.1.4.1.57264.2"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := timestamp.Request{
		Digest: sigbox.Digest{Algorithm: sigbox.SHA256, Value: make([]byte, 32)}, Certificates: true,
		Nonce: []byte{0, 255}, Policy: encoding.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
	}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(timestamp.Request{})); diff != "" {
		t.Error(diff)
	}
	if _, err := timestamp.ParseJSONRequest([]byte(`{` + strings.Replace(hash, "sha256", "SHA256", 1) + `}`)); err != nil {
		t.Error(err)
	}
	for name, body := range map[string]string{
		"empty":            ``,
		"no object":        `[]`,
		"nothing":          `{}`,
		"another hash":     `{"artifactHash":"AAAA","hashAlgorithm":"sha1"}`,
		"length":           `{"artifactHash":"AAAA","hashAlgorithm":"sha256"}`,
		"not base64":       `{"artifactHash":"!","hashAlgorithm":"sha256"}`,
		"unknown member":   `{` + hash + `,"more":1}`,
		"another case":     `{` + strings.Replace(hash, "artifactHash", "ArtifactHash", 1) + `}`,
		"twice":            `{` + hash + `,` + hash + `}`,
		"fraction":         `{` + hash + `,"nonce":1.5}`,
		"exponent":         `{` + hash + `,"nonce":1e3}`,
		"nonce null":       `{` + hash + `,"nonce":null}`,
		"nonce text":       `{` + hash + `,"nonce":"1"}`,
		"nonce of 512 bit": `{` + hash + `,"nonce":` + new(big.Int).Lsh(big.NewInt(1), 511).String() + `}`,
		"policy":           `{` + hash + `,"tsaPolicyOID":"1.40.1"}`,
		"policy text":      `{` + hash + `,"tsaPolicyOID":"1.x"}`,
		"policy sign":      `{` + hash + `,"tsaPolicyOID":"1.+3"}`,
		"trailing":         `{` + hash + `} {}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := timestamp.ParseJSONRequest([]byte(body))
			wantKind(t, err, sigbox.Invalid)
		})
	}
}

// TSA GHSA-4qg8-fj49-pxjh: a request made the server allocate without bound. The
// nonce is the member that could grow: a megabyte of digits is refused unread.
func TestGHSA4qg8RequestMemory(t *testing.T) {
	body := `{"artifactHash":"","hashAlgorithm":"sha256","nonce":` + strings.Repeat("9", 1<<20) + `}`
	_, err := timestamp.ParseJSONRequest([]byte(body))
	wantKind(t, err, sigbox.TooLarge)
	// A policy of very many arcs was the other way.
	_, err = timestamp.ParseJSONRequest([]byte(`{"artifactHash":"","hashAlgorithm":"sha256","tsaPolicyOID":"1` + strings.Repeat(".1", 1<<19) + `"}`))
	wantKind(t, err, sigbox.TooLarge)
}

func TestResponseRejection(t *testing.T) {
	r := timestamp.Reject(timestamp.UnacceptedPolicy, "not here")
	der := r.Marshal()
	got, err := timestamp.ParseResponse(der)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Error(diff)
	}
	_, err = timestamp.Parse(der)
	wantKind(t, err, sigbox.Denied)
	if f, ok := errors.AsType[timestamp.Failure](err); !ok || f != timestamp.UnacceptedPolicy {
		t.Errorf("expected the reason, found %v", f)
	}
	for _, status := range []int{1, 3, 4, 5} {
		_, err := timestamp.Parse(timestamp.Response{Status: status}.Marshal())
		wantKind(t, err, sigbox.Denied)
	}
	_, err = timestamp.Parse(timestamp.Response{}.Marshal()) // granted, without a token
	wantKind(t, err, sigbox.Invalid)
	_, err = timestamp.Parse(make([]byte, timestamp.MaxResponse+1))
	wantKind(t, err, sigbox.TooLarge)
}

func TestTokenOfUnusedTime(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	resp := a.respond(t, nil, now)
	for name, text := range map[string]string{
		"fraction with zero": "20260301130.00Z", "no zone": "202603011300000", "offset": "20260301130+00", "comma": "20260301130,01Z",
	} {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Replace(resp, []byte("20260301130000Z"), []byte(text), 1)
			if _, err := timestamp.Parse(bad); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestFailureNames(t *testing.T) {
	seen := map[string]bool{}
	for f := range timestamp.Failure(32) {
		seen[f.Error()] = true
	}
	if len(seen) != 9 {
		t.Errorf("expected eight reasons and an unknown one, found %v", seen)
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, r := range []timestamp.Request{
		{Digest: sigbox.SHA256.Sum(signature)},
		{Digest: sigbox.SHA512.Sum(signature), Policy: encoding.ObjectIdentifier{2, 999, 3}, Nonce: []byte{1}, Certificates: true, Extensions: []byte{0x30, 0x07, 0x06, 0x03, 0x2a, 0x03, 0x04, 0x04, 0x00}},
	} {
		der, err := r.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := timestamp.ParseRequest(der)
		if err != nil {
			return
		}
		again, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(der, again) {
			t.Errorf("read and written again:\n%x\n%x", der, again)
		}
	})
}

func FuzzParseJSONRequest(f *testing.F) {
	f.Add([]byte(`{"artifactHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","hashAlgorithm":"sha256","certificates":true,"nonce":-129,"tsaPolicyOID":"1.2.3"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := timestamp.ParseJSONRequest(b)
		if err != nil {
			return
		}
		der, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := timestamp.ParseRequest(der); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	a := newAuthority(f, ecdsaKey(f, elliptic.P256()))
	auth, err := timestamp.NewAuthority(a.trusted())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(a.respond(f, nil, now))
	f.Add(a.respond(f, func(r *timestamp.Request) { r.Certificates, r.Nonce = false, []byte{5} }, now))
	f.Add(timestamp.Reject(timestamp.BadAlgorithm, "no").Marshal())
	f.Fuzz(func(t *testing.T, der []byte) {
		if r, err := timestamp.ParseResponse(der); err == nil && !bytes.Equal(r.Marshal(), der) {
			t.Errorf("read and written again:\n%x\n%x", der, r.Marshal())
		}
		tok, err := timestamp.Parse(der)
		if err != nil {
			return
		}
		_ = tok.SerialNumber()
		_ = auth.VerifyToken(tok, signature)
	})
}

func BenchmarkVerify(b *testing.B) {
	a := newAuthority(b, ecdsaKey(b, elliptic.P256()))
	auth, err := timestamp.NewAuthority(a.trusted())
	if err != nil {
		b.Fatal(err)
	}
	resp := a.respond(b, nil, now)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := auth.Verify(resp, signature); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRespond(b *testing.B) {
	s := newAuthority(b, ecdsaKey(b, elliptic.P256())).signer(b)
	req := timestamp.Request{Digest: sigbox.SHA256.Sum(signature), Certificates: true}
	serial := big.NewInt(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Respond(req, now, serial); err != nil {
			b.Fatal(err)
		}
	}
}
