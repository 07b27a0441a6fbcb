package fulcio_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/flawed"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/fulcio"
)

// material is a key, as PEM and DER, and a signing request of it as PEM.
type material struct {
	public   crypto.PublicKey
	der      []byte
	pem, csr string
	csrDER   []byte
}

func newMaterial(tb testing.TB) material {
	tb.Helper()
	key := fixture.Key(tb)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, key)
	if err != nil {
		tb.Fatal(err)
	}
	text := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return material{key.Public(), der, text("PUBLIC KEY", der), text("CERTIFICATE REQUEST", csr), csr}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// field is a field of a message that holds bytes.
func field(number protowire.Number, b string) string {
	return string(protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), b))
}

func number(number protowire.Number, v uint64) string {
	return string(protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v))
}

// TestRequests reads what clients send, in each form and spelling.
func TestRequests(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	withKey := sigbox.CertificateRequest{Token: "a.b.c", PublicKey: m.public, Proof: []byte("proof")}
	withCSR := sigbox.CertificateRequest{Token: "a.b.c", CSR: m.csrDER}
	withoutToken := func(r sigbox.CertificateRequest) sigbox.CertificateRequest {
		r.Token = ""
		return r
	}
	v2, v1, rpc := fulcio.ParseRequest, fulcio.ParseRequestV1, fulcio.ParseRequestProto
	for name, tc := range map[string]struct {
		parse func([]byte) (sigbox.CertificateRequest, error)
		body  string
		want  sigbox.CertificateRequest
	}{
		"key":         {v2, `{"credentials":{"oidcIdentityToken":"a.b.c"},"publicKeyRequest":{"publicKey":{"algorithm":"ECDSA","content":` + quote(m.pem) + `},"proofOfPossession":"` + b64("proof") + `"}}`, withKey},
		"snake case":  {v2, `{"credentials":{"oidc_identity_token":"a.b.c"},"public_key_request":{"public_key":{"algorithm":2,"content":` + quote(m.pem) + `},"proof_of_possession":"` + b64("proof") + `"}}`, withKey},
		"key, DER":    {v1, `{"publicKey":{"content":"` + b64(string(m.der)) + `"},"signedEmailAddress":"` + b64("proof") + `"}`, withoutToken(withKey)},
		"key, v1":     {v1, `{"publicKey":{"algorithm":"x","content":"` + b64(m.pem) + `"},"signedEmailAddress":"` + b64("proof") + `"}`, withoutToken(withKey)},
		"CSR":         {v2, `{"credentials":{"oidcIdentityToken":"a.b.c"},"certificateSigningRequest":"` + b64(m.csr) + `"}`, withCSR},
		"CSR, v1":     {v1, `{"certificateSigningRequest":"` + b64(m.csr) + `"}`, withoutToken(withCSR)},
		"NEW CSR":     {v2, `{"certificateSigningRequest":"` + b64(strings.ReplaceAll(m.csr, "CERTIFICATE R", "NEW CERTIFICATE R")) + `"}`, withoutToken(withCSR)},
		"nothing":     {v2, `{}`, sigbox.CertificateRequest{}},
		"null":        {v2, `{"credentials":null,"publicKeyRequest":null}`, sigbox.CertificateRequest{}},
		"gRPC":        {rpc, field(1, field(1, "a.b.c")) + field(2, field(1, number(1, 2)+field(2, m.pem))+field(2, "proof")), withKey},
		"gRPC, order": {rpc, field(2, field(2, "proof")+field(1, field(2, m.pem)+number(1, 2))) + field(1, field(1, "a.b.c")), withKey},
		"gRPC, CSR":   {rpc, field(1, field(1, "a.b.c")) + field(3, m.csr), withCSR},
		"gRPC, empty": {rpc, "", sigbox.CertificateRequest{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.parse([]byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAppendRequest: what is written is read as the same.
func TestAppendRequest(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	for _, want := range []sigbox.CertificateRequest{
		{Token: "a.b.c", PublicKey: m.public, Proof: []byte("proof")},
		{Token: "a.b.c", CSR: m.csrDER},
	} {
		body, err := fulcio.AppendRequest([]byte("x"), want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := fulcio.ParseRequest(body[1:])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	body, err := fulcio.AppendRequest(nil, sigbox.CertificateRequest{Token: "a.b.c", PublicKey: m.public})
	if err != nil || strings.Contains(string(body), "algorithm") { // an enum, of which "" is no value
		t.Errorf("found %s, %v", body, err)
	}
	if _, err := fulcio.AppendRequest(nil, sigbox.CertificateRequest{PublicKey: "text"}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v", err)
	}
}

// TestRefused: hostile requests get a reason.
func TestRefused(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	key := field(2, m.pem)
	v2, v1, rpc := fulcio.ParseRequest, fulcio.ParseRequestV1, fulcio.ParseRequestProto
	long := strings.Repeat("A", 64<<10+4)
	for name, tc := range map[string]struct {
		parse func([]byte) (sigbox.CertificateRequest, error)
		body  string
		kind  sigbox.Kind
		about string
	}{
		"no key":              {v2, `{"publicKeyRequest":{}}`, sigbox.Invalid, "content is missing"},
		"no content":          {v1, `{"publicKey":{"algorithm":"x"}}`, sigbox.Invalid, "content is missing"},
		"long token":          {v2, `{"credentials":{"oidcIdentityToken":"` + long + `"}}`, sigbox.TooLarge, "oidcIdentityToken"},
		"long key":            {v2, `{"publicKeyRequest":{"publicKey":{"content":"` + long + `"}}}`, sigbox.TooLarge, "content"},
		"long key, v1":        {v1, `{"publicKey":{"content":"` + long + long + `"}}`, sigbox.TooLarge, "content"},
		"long CSR":            {v2, `{"certificateSigningRequest":"` + long + long + `"}`, sigbox.TooLarge, "certificateSigningRequest"},
		"long CSR, v1":        {v1, `{"certificateSigningRequest":"` + long + long + `"}`, sigbox.TooLarge, "certificateSigningRequest"},
		"long proof":          {v2, `{"publicKeyRequest":{"proofOfPossession":"` + long + `"}}`, sigbox.TooLarge, "proofOfPossession"},
		"long proof, v1":      {v1, `{"signedEmailAddress":"` + long + `"}`, sigbox.TooLarge, "signedEmailAddress"},
		"long":                {v2, strings.Repeat(" ", fulcio.MaxRequestSize+1), sigbox.TooLarge, "at most"},
		"token, v1":           {v1, `{"credentials":{"oidcIdentityToken":"a.b.c"}}`, sigbox.Invalid, "unknown member"},
		"another CSR":         {v2, `{"certificateSigningRequest":"` + b64(m.pem) + `"}`, sigbox.Invalid, "CERTIFICATE REQUEST"},
		"two CSRs":            {v2, `{"certificateSigningRequest":"` + b64(m.csr+m.csr) + `"}`, sigbox.Invalid, "one PEM block"},
		"two keys":            {v1, `{"publicKey":{"content":"` + b64(m.pem+m.pem) + `"}}`, sigbox.Invalid, "one PEM block"},
		"CSR as key":          {v1, `{"publicKey":{"content":"` + b64(m.csr) + `"}}`, sigbox.Invalid, "PUBLIC KEY"},
		"gRPC: unknown":       {rpc, field(4, ""), sigbox.Invalid, "unknown field 4"},
		"gRPC: twice":         {rpc, field(1, "") + field(1, ""), sigbox.Invalid, "stands twice"},
		"gRPC: another type":  {rpc, number(1, 1), sigbox.Invalid, "wire type"},
		"gRPC: cut":           {rpc, field(2, field(1, key))[:40], sigbox.Invalid, "ends beyond"},
		"gRPC: cut inside":    {rpc, field(2, field(1, key[:40])), sigbox.Invalid, "ends beyond"},
		"gRPC: token unknown": {rpc, field(1, field(2, "")), sigbox.Invalid, "unknown field 2"},
		"gRPC: long token":    {rpc, field(1, field(1, long)), sigbox.TooLarge, "oidc_identity_token"},
		"gRPC: no text":       {rpc, field(1, field(1, "\xff")), sigbox.Invalid, "UTF-8"},
		"gRPC: long key":      {rpc, field(2, field(1, field(2, long))), sigbox.TooLarge, "content"},
		"gRPC: long proof":    {rpc, field(2, field(2, long)), sigbox.TooLarge, "proof_of_possession"},
		"gRPC: long CSR":      {rpc, field(3, long), sigbox.TooLarge, "certificate_signing_request"},
		"gRPC: long":          {rpc, field(1, strings.Repeat("A", fulcio.MaxRequestSize)), sigbox.TooLarge, "at most"},
		"gRPC: no key":        {rpc, field(2, field(2, "proof")), sigbox.Invalid, "content is missing"},
		"gRPC: no DER":        {rpc, field(2, field(1, field(2, "key"))), sigbox.Invalid, "SubjectPublicKeyInfo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.parse([]byte(tc.body))
			if sigbox.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.about) {
				t.Errorf("expected %v about %q, found %v", tc.kind, tc.about, err)
			}
			if !cmp.Equal(got, sigbox.CertificateRequest{}) {
				t.Errorf("refused, and yet there is %v", got)
			}
		})
	}
	if err := fulcio.ParseEmptyProto(nil); err != nil {
		t.Error(err)
	}
	if err := fulcio.ParseEmptyProto([]byte(field(1, ""))); err == nil {
		t.Error("a field in an empty message")
	}
}

// TestFlaws: a request that is wrong at any place is refused. An algorithm may be
// anything: keys say of themselves what they are.
func TestFlaws(t *testing.T) {
	t.Parallel()
	m := newMaterial(t)
	parse := func(b []byte) error {
		_, err := fulcio.ParseRequest(b)
		return err
	}
	flawed.TestJSON(t, parse, `{"credentials":{"oidcIdentityToken":"a.b.c"},"publicKeyRequest":{"publicKey":{"algorithm":"ECDSA","content":`+quote(m.pem)+`},"proofOfPossession":"AAAA"}}`, "/publicKeyRequest/publicKey/algorithm: *")
}

// TestRequestLimits: no request costs more than its size.
func TestRequestLimits(t *testing.T) {
	for name, parse := range map[string]func([]byte) (sigbox.CertificateRequest, error){"v2": fulcio.ParseRequest, "v1": fulcio.ParseRequestV1, "gRPC": fulcio.ParseRequestProto} {
		t.Run(name, func(t *testing.T) {
			read := func(b []byte) error {
				_, err := parse(b)
				return err
			}
			inputs := hostile.JSON()
			inputs = append(inputs, hostile.Member("token", `{"credentials":{"oidcIdentityToken":@}}`)...)
			inputs = append(inputs, hostile.Member("key", `{"publicKeyRequest":{"publicKey":{"content":@}}}`)...)
			inputs = append(inputs, hostile.Fill("fields", "", field(1, ""), ""), hostile.Fill("a key of dashes", field(2, "")[:1], "-----BEGIN ", ""))
			hostile.Test(t, read, inputs...)
		})
	}
}

// FuzzRequest: no request makes a parser panic; what one reads can be written and is
// then read as the same.
func FuzzRequest(f *testing.F) {
	m := newMaterial(f)
	f.Add([]byte(`{"credentials":{"oidcIdentityToken":"a.b.c"},"publicKeyRequest":{"publicKey":{"content":` + quote(m.pem) + `},"proofOfPossession":"AAAA"}}`))
	f.Add([]byte(`{"publicKey":{"content":"` + b64(string(m.der)) + `"},"signedEmailAddress":"AAAA"}`))
	f.Add([]byte(`{"certificateSigningRequest":"` + b64(m.csr) + `"}`))
	f.Add([]byte(field(1, field(1, "a.b.c")) + field(2, field(1, number(1, 2)+field(2, m.pem))+field(2, "proof"))))
	f.Add([]byte(field(3, m.csr)))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, parse := range []func([]byte) (sigbox.CertificateRequest, error){fulcio.ParseRequest, fulcio.ParseRequestV1, fulcio.ParseRequestProto} {
			before := bytes.Clone(body)
			read, err := parse(body)
			if !bytes.Equal(before, body) {
				t.Fatal("the body was changed")
			}
			if err != nil || (read.PublicKey == nil) == (read.CSR == nil) {
				continue
			}
			written, err := fulcio.AppendRequest(nil, read)
			if err != nil {
				t.Fatal(err)
			}
			again, err := fulcio.ParseRequest(written)
			if err != nil {
				t.Fatalf("%v: %s", err, written)
			}
			if read.Proof = bytes.Clone(read.Proof); !cmp.Equal(read, again, cmp.Comparer(bytes.Equal)) {
				t.Fatal(cmp.Diff(read, again))
			}
		}
	})
}
