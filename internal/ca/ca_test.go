package ca_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/wire/cert"
)

func contains(s, sub string) bool { return strings.Contains(s, sub) }

func TestIssueForEveryType(t *testing.T) {
	const iss = "https://issuer.example.com"
	subject := func(id sigbox.Identity, sub string) sigbox.Identity {
		if id.Issuer == "" {
			id.Issuer = iss
		}
		id.Extensions.TokenSubject = sub
		return id
	}
	for name, tc := range map[string]struct {
		issuer ca.Issuer
		claims object
		proof  string
		want   sigbox.Identity
	}{
		"email": {
			ca.Issuer{Type: ca.Email}, object{"email": "alice@example.com", "email_verified": true}, "alice@example.com",
			subject(sigbox.Identity{Subject: "alice@example.com", Kind: sigbox.EmailSAN}, "subject-1"),
		},
		"email, verified as text": {
			ca.Issuer{Type: ca.Email}, object{"email": "a.b+c@example.com", "email_verified": "true"}, "a.b+c@example.com",
			subject(sigbox.Identity{Subject: "a.b+c@example.com", Kind: sigbox.EmailSAN}, "subject-1"),
		},
		"email, unverified where that is configured": {
			ca.Issuer{Type: ca.Email, SkipEmailVerification: true}, object{"email": "alice@example.com"}, "alice@example.com",
			subject(sigbox.Identity{Subject: "alice@example.com", Kind: sigbox.EmailSAN}, "subject-1"),
		},
		"email, federated": {
			ca.Issuer{Type: ca.Email, IssuerClaim: "$.federated_claims.connector_id"},
			object{"email": "alice@example.com", "email_verified": true, "federated_claims": object{"connector_id": "https://github.com/login/oauth"}}, "alice@example.com",
			subject(sigbox.Identity{Issuer: "https://github.com/login/oauth", Subject: "alice@example.com", Kind: sigbox.EmailSAN}, "subject-1"),
		},
		"uri": {
			ca.Issuer{Type: ca.URI, SubjectDomain: "https://example.com"}, object{"sub": "https://example.com/users/1"}, "https://example.com/users/1",
			subject(sigbox.Identity{Subject: "https://example.com/users/1", Kind: sigbox.URISAN}, "https://example.com/users/1"),
		},
		"spiffe": {
			ca.Issuer{Type: ca.SPIFFE, TrustDomain: "prod.example"}, object{"sub": "spiffe://prod.example/ns/build/sa/release", "iat": nil, "nbf": nil}, "spiffe://prod.example/ns/build/sa/release",
			subject(sigbox.Identity{Subject: "spiffe://prod.example/ns/build/sa/release", Kind: sigbox.URISAN}, "spiffe://prod.example/ns/build/sa/release"),
		},
		"username": {
			ca.Issuer{Type: ca.Username, SubjectDomain: "example.com"}, object{"sub": "alice"}, "alice",
			subject(sigbox.Identity{Subject: "alice!example.com", Kind: sigbox.OtherNameSAN}, "alice"),
		},
		"kubernetes": {
			ca.Issuer{Type: ca.Kubernetes},
			object{"sub": "system:serviceaccount:ci:signer", "aud": []string{"other", "sigstore"}, "kubernetes.io": object{"namespace": "ci", "serviceaccount": object{"name": "signer", "uid": "1"}}},
			"system:serviceaccount:ci:signer",
			subject(sigbox.Identity{Subject: "https://kubernetes.io/namespaces/ci/serviceaccounts/signer", Kind: sigbox.URISAN}, "system:serviceaccount:ci:signer"),
		},
		"ci-provider": {
			ca.Issuer{Type: ca.CIProvider, Provider: "buildkite-job"},
			object{"organization_slug": "acme", "pipeline_slug": "web", "build_number": 123456789, "job_id": "j1", "runner_environment": "self-hosted", "build_commit": "abc", "build_source": "api"}, "subject-1",
			subject(sigbox.Identity{Subject: "https://buildkite.com/acme/web", Kind: sigbox.URISAN, Extensions: sigbox.Extensions{
				RunInvocationURI: "https://buildkite.com/acme/web/builds/123456789#j1", RunnerEnvironment: "self-hosted",
				SourceRepositoryDigest: "abc", BuildTrigger: "api",
			}}, "subject-1"),
		},
		"wildcard issuer": {
			ca.Issuer{URL: "https://*.example.com/id/*", Type: ca.Email},
			object{"iss": "https://eu-west_1.example.com/id/B02C93", "email": "alice@example.com", "email_verified": true}, "alice@example.com",
			subject(sigbox.Identity{Issuer: "https://eu-west_1.example.com/id/B02C93", Subject: "alice@example.com", Kind: sigbox.EmailSAN}, "subject-1"),
		},
		"sub type whose token has an email, which clients then sign": {
			ca.Issuer{Type: ca.Username, SubjectDomain: "example.com"}, object{"sub": "alice", "email": "alice@elsewhere.example"}, "alice@elsewhere.example",
			subject(sigbox.Identity{Subject: "alice!example.com", Kind: sigbox.OtherNameSAN}, "alice"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.issuer.URL == "" {
				tc.issuer.URL = iss
			}
			i := newInstance(t, tc.issuer)
			chain, err := i.Issue(t.Context(), request(t, i.idp.token(t, tc.claims), tc.proof))
			if err != nil {
				t.Fatal(err)
			}
			got, err := cert.IdentityOf(i.verify(t, chain))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestProfile holds the certificate's form.
func TestProfile(t *testing.T) {
	i := newInstance(t)
	key := fixture.Key(t)
	token := i.idp.token(t, object{"email": "alice@example.com", "email_verified": true})
	chain, err := i.Issue(t.Context(), requestBy(t, key, token, "alice@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	leaf := i.verify(t, chain)
	if want := start().Truncate(time.Second); !leaf.NotBefore.Equal(want) || !leaf.NotAfter.Equal(want.Add(10*time.Minute)) {
		t.Errorf("valid from %v to %v", leaf.NotBefore, leaf.NotAfter)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		t.Error("another key is certified")
	}
	if n := leaf.SerialNumber; n.Sign() <= 0 || len(n.Bytes()) != 20 {
		t.Errorf("serial number %v", n)
	}
	if leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageCodeSigning {
		t.Errorf("key usage %v, %v", leaf.KeyUsage, leaf.ExtKeyUsage)
	}
	if len(leaf.Subject.Names) != 0 || leaf.IsCA {
		t.Errorf("subject %v, CA %v", leaf.Subject, leaf.IsCA)
	}
	critical := map[string]bool{}
	for _, e := range leaf.Extensions {
		critical[e.Id.String()] = e.Critical
	}
	if diff := cmp.Diff(map[string]bool{
		"2.5.29.15": true, "2.5.29.37": false, "2.5.29.14": false, "2.5.29.35": false, "2.5.29.17": true,
		"1.3.6.1.4.1.57264.1.1": false, "1.3.6.1.4.1.57264.1.8": false, "1.3.6.1.4.1.57264.1.24": false,
		"1.3.6.1.4.1.11129.2.4.2": false,
	}, critical); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(leaf.AuthorityKeyId, must(x509.ParseCertificate(chain[1])).SubjectKeyId) {
		t.Error("the authority's key ID is another")
	}
	again, err := i.Issue(t.Context(), requestBy(t, key, token, "alice@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if i.verify(t, again).SerialNumber.Cmp(leaf.SerialNumber) == 0 {
		t.Error("two certificates have one serial number")
	}
}

// TestLogged: what was logged is the certificate, before it was one.
func TestLogged(t *testing.T) {
	i := newInstance(t)
	chain, err := i.Issue(t.Context(), request(t, i.idp.token(t, object{"email": "alice@example.com", "email_verified": true}), "alice@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	logged := i.log.chains[0]
	if poisoned, err := cert.IsPrecert(logged[0]); err != nil || !poisoned {
		t.Errorf("no precertificate was logged: %v", err)
	}
	if !bytes.Equal(must(cert.PrecertTBS(logged[0])), must(cert.PrecertTBS(chain[0]))) {
		t.Error("another certificate was logged")
	}
	if pre := must(x509.ParseCertificate(logged[0])); pre.CheckSignatureFrom(must(x509.ParseCertificate(logged[1]))) != nil {
		t.Error("the precertificate is not signed by the authority")
	}
}

// TestNothingLeavesUnlogged: no certificate without a durable entry and a sound
// SCT.
func TestNothingLeavesUnlogged(t *testing.T) {
	i := newInstance(t)
	req := request(t, i.idp.token(t, object{"email": "alice@example.com", "email_verified": true}), "alice@example.com")
	i.log.err = sigbox.Errorf(sigbox.Unavailable, "the disk is full")
	_, err := i.Issue(t.Context(), req)
	refused(t, err, sigbox.Unavailable, "disk is full")
	i.log.err = nil
	for name, change := range map[string]func([]byte) []byte{
		"cut":   func(b []byte) []byte { return b[:len(b)-1] },
		"empty": func([]byte) []byte { return nil },
	} {
		i.log.change = change
		if chain, err := i.Issue(t.Context(), req); err == nil {
			t.Errorf("%s SCT: a chain of %d leaves", name, len(chain))
		}
	}
}

func TestIssueForEveryKey(t *testing.T) {
	i := newInstance(t)
	token := i.idp.token(t, object{"email": "alice@example.com", "email_verified": true})
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{
		"P-256":    fixture.Key(t),
		"P-384":    must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"P-521":    must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"Ed25519":  ed,
		"RSA 2048": must(rsa.GenerateKey(rand.Reader, 2048)),
		"RSA 3072": must(rsa.GenerateKey(rand.Reader, 3072)),
	} {
		t.Run(name, func(t *testing.T) {
			chain, err := i.Issue(t.Context(), requestBy(t, key, token, "alice@example.com"))
			if err != nil {
				t.Fatal(err)
			}
			i.verify(t, chain)
			csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "mallory"}, EmailAddresses: []string{"mallory@example.com"}}, key)
			if err != nil {
				t.Fatal(err)
			}
			chain, err = i.Issue(t.Context(), sigbox.CertificateRequest{Token: token, CSR: csr})
			if err != nil {
				t.Fatal(err)
			}
			id, err := cert.IdentityOf(i.verify(t, chain))
			if err != nil || id.Subject != "alice@example.com" {
				t.Errorf("certified %q, %v", id.Subject, err)
			}
		})
	}
}

func TestRefusedProofs(t *testing.T) {
	i := newInstance(t)
	token := i.idp.token(t, object{"email": "alice@example.com", "email_verified": true})
	key, other := fixture.Key(t), fixture.Key(t)
	good := requestBy(t, key, token, "alice@example.com")
	csr := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key))
	broken := bytes.Clone(csr)
	broken[len(broken)-1] ^= 1
	for name, tc := range map[string]struct {
		change func(*sigbox.CertificateRequest)
		about  string
	}{
		"by another key":        {func(r *sigbox.CertificateRequest) { r.PublicKey = other.Public() }, "does not verify"},
		"over another text":     {func(r *sigbox.CertificateRequest) { *r = requestBy(t, key, token, "bob@example.com") }, "does not verify"},
		"over the sub of email": {func(r *sigbox.CertificateRequest) { *r = requestBy(t, key, token, "subject-1") }, "does not verify"},
		"cut":                   {func(r *sigbox.CertificateRequest) { r.Proof = r.Proof[:10] }, "does not verify"},
		"none":                  {func(r *sigbox.CertificateRequest) { r.Proof = nil }, "no proof"},
		"no key":                {func(r *sigbox.CertificateRequest) { r.PublicKey = nil }, "neither"},
		"key and CSR":           {func(r *sigbox.CertificateRequest) { r.CSR = csr }, "found both"},
		"CSR by another key":    {func(r *sigbox.CertificateRequest) { *r = sigbox.CertificateRequest{Token: token, CSR: broken} }, "signature does not verify"},
		"CSR of rubbish":        {func(r *sigbox.CertificateRequest) { *r = sigbox.CertificateRequest{Token: token, CSR: []byte("x")} }, "PKCS #10"},
	} {
		t.Run(name, func(t *testing.T) {
			req := good
			tc.change(&req)
			_, err := i.Issue(t.Context(), req)
			refused(t, err, sigbox.Invalid, tc.about)
		})
	}
	_, err := i.Issue(t.Context(), sigbox.CertificateRequest{Token: token, CSR: make([]byte, 1<<20)})
	refused(t, err, sigbox.TooLarge, "at most")
}

func TestWeakKeys(t *testing.T) {
	i := newInstance(t)
	token := i.idp.token(t, object{"email": "alice@example.com", "email_verified": true})
	good := must(rsa.GenerateKey(rand.Reader, 2048)).N
	modulus := func(change func(n *big.Int) *big.Int) *rsa.PublicKey {
		n := change(new(big.Int).Set(good))
		for n.BitLen() != 2048 {
			t.Fatalf("the test's modulus has %d bits", n.BitLen())
		}
		return &rsa.PublicKey{N: n, E: 65537}
	}
	p := must(rand.Prime(rand.Reader, 1024))
	next := new(big.Int).Add(p, big.NewInt(2))
	for !next.ProbablyPrime(20) {
		next.Add(next, big.NewInt(2))
	}
	for name, tc := range map[string]struct {
		key   crypto.PublicKey
		about string
	}{
		"P-224":      {must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)).Public(), "P-224"},
		"RSA 2049":   {&rsa.PublicKey{N: new(big.Int).Lsh(good, 1), E: 65537}, "2049"},
		"RSA 1024":   {&rsa.PublicKey{N: new(big.Int).Rsh(good, 1024), E: 65537}, "1024"},
		"exponent 3": {&rsa.PublicKey{N: good, E: 3}, "65537"},
		"even":       {modulus(func(n *big.Int) *big.Int { return n.SetBit(n, 0, 0) }), "small factor"},
		"a factor of 751": {modulus(func(n *big.Int) *big.Int {
			return n.Sub(n, new(big.Int).Mod(n, big.NewInt(2*751))).Add(n, big.NewInt(751))
		}), "small factor"},
		"close primes":  {&rsa.PublicKey{N: new(big.Int).Mul(p, next), E: 65537}, "close together"},
		"ROCA":          {&rsa.PublicKey{N: rocaModulus(), E: 65537}, "ROCA"},
		"Ed25519, zero": {ed25519.PublicKey(make([]byte, 32)), "small order"},
		"Ed25519, one":  {ed25519.PublicKey(append([]byte{1}, make([]byte, 31)...)), "small order"},
		"short Ed25519": {ed25519.PublicKey(make([]byte, 31)), "do not match"},
		"text":          {"key", "unsupported"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := i.Issue(t.Context(), sigbox.CertificateRequest{Token: token, PublicKey: tc.key, Proof: []byte{1}})
			refused(t, err, sigbox.Invalid, tc.about)
		})
	}
}

// rocaModulus makes a modulus that has the fingerprint: a power of 65537 modulo
// the product of the small primes.
func rocaModulus() *big.Int {
	m := big.NewInt(1)
	for _, p := range []int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157} {
		m.Mul(m, big.NewInt(p))
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(12345), m)
	step := new(big.Int).Lsh(m, 1)
	if n.Bit(0) == 0 {
		n.Add(n, m)
	}
	top := new(big.Int).Lsh(big.NewInt(3), 2046)
	n.Add(n, new(big.Int).Mul(step, new(big.Int).Div(top, step)))
	for ; ; n.Add(n, step) { // until it has no small factor
		small := false
		for d := int64(3); d < 752; d += 2 {
			small = small || new(big.Int).Mod(n, big.NewInt(d)).Sign() == 0
		}
		if !small {
			return n
		}
	}
}

// TestClock: an authority whose clock is wrong does not issue.
func TestClock(t *testing.T) {
	i := newInstance(t)
	issue := func() error {
		now := i.clock.Now()
		token := i.idp.token(t, object{"email": "alice@example.com", "email_verified": true, "iat": nil, "nbf": nil, "exp": now.Add(time.Minute).Unix()})
		_, err := i.Issue(t.Context(), request(t, token, "alice@example.com"))
		return err
	}
	i.clock.Add(-time.Hour)
	refused(t, issue(), sigbox.Unavailable, "clock")
	refused(t, i.Err(), sigbox.Unavailable, "clock")
	i.clock.Add(time.Hour)
	if err := errors.Join(issue(), i.Err()); err != nil {
		t.Error(err)
	}
	i.clock.Add(10 * 366 * 24 * time.Hour)
	refused(t, issue(), sigbox.Unavailable, "ends at")
	refused(t, i.Err(), sigbox.Unavailable, "ends at")
}

func TestNewRefuses(t *testing.T) {
	root, key := fixture.Key(t), fixture.Key(t)
	chain := must(ca.NewChain(ca.ChainConfig{Root: root, Intermediate: key.Public()}))
	other := must(ca.NewChain(ca.ChainConfig{Root: fixture.Key(t), Intermediate: key.Public()}))
	good := ca.Config{Key: key, Chain: chain, CTLog: &ctLog{key: key}}
	if _, err := ca.New(good); err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*ca.Config){
		"no key":           func(c *ca.Config) { c.Key = nil },
		"another key":      func(c *ca.Config) { c.Key = fixture.Key(t) },
		"no chain":         func(c *ca.Config) { c.Chain = nil },
		"no root":          func(c *ca.Config) { c.Chain = chain[:1] },
		"rubbish":          func(c *ca.Config) { c.Chain = [][]byte{chain[0], []byte("x")} },
		"another's root":   func(c *ca.Config) { c.Chain = [][]byte{chain[0], other[1]} },
		"wrong order":      func(c *ca.Config) { c.Chain = [][]byte{chain[1], chain[0]} },
		"no CT log":        func(c *ca.Config) { c.CTLog = nil },
		"long validity":    func(c *ca.Config) { c.Validity = 2 * time.Hour },
		"half a second":    func(c *ca.Config) { c.Validity = 1500 * time.Millisecond },
		"unusable issuers": func(c *ca.Config) { c.Issuers = []ca.Issuer{{}} },
	} {
		c := good
		change(&c)
		if _, err := ca.New(c); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: expected a refusal, found %v", name, err)
		}
	}
	if _, err := ca.NewChain(ca.ChainConfig{Root: ed, Intermediate: key.Public()}); err == nil {
		t.Error("an Ed25519 root is made, under which not every client verifies")
	}
	if _, err := ca.NewChain(ca.ChainConfig{}); err == nil {
		t.Error("a chain is made of no keys")
	}
}

// TestChain holds the authority's own certificates.
func TestChain(t *testing.T) {
	for name, keys := range map[string][2]crypto.Signer{
		"P-256": {fixture.Key(t), fixture.Key(t)},
		"mixed": {must(rsa.GenerateKey(rand.Reader, 2048)), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))},
	} {
		chain, err := ca.NewChain(ca.ChainConfig{Root: keys[0], Intermediate: keys[1].Public(), Now: start, Organization: "example"})
		if err != nil {
			t.Fatal(name, err)
		}
		c, root := must(x509.ParseCertificate(chain[0])), must(x509.ParseCertificate(chain[1]))
		if err := errors.Join(c.CheckSignatureFrom(root), root.CheckSignatureFrom(root)); err != nil {
			t.Error(name, err)
		}
		if c.MaxPathLen != 0 || !c.MaxPathLenZero || root.MaxPathLen != 1 || len(root.ExtKeyUsage) != 0 || len(c.ExtKeyUsage) != 1 {
			t.Errorf("%s: path lengths %d and %d, key usages %v and %v", name, c.MaxPathLen, root.MaxPathLen, c.ExtKeyUsage, root.ExtKeyUsage)
		}
		want := start().Add(-5 * time.Minute).Truncate(time.Second)
		if !c.NotBefore.Equal(want) || !root.NotBefore.Equal(want) {
			t.Errorf("%s: valid from %v and %v", name, c.NotBefore, root.NotBefore)
		}
		if !bytes.Equal(c.AuthorityKeyId, root.SubjectKeyId) || !bytes.Equal(root.AuthorityKeyId, root.SubjectKeyId) || len(c.SubjectKeyId) == 0 {
			t.Errorf("%s: key IDs do not chain", name)
		}
	}
}

func TestCertificateAuthority(t *testing.T) {
	i := newInstance(t)
	got := i.CertificateAuthorities()[0]
	if got.Organization != "sigbox" || got.CommonName != "sigbox intermediate" || len(got.Chain) != 2 ||
		!got.ValidFor.Start.Equal(start().Add(-5*time.Minute).Truncate(time.Second)) || !got.ValidFor.End.IsZero() {
		t.Errorf("%+v", got)
	}
}

func BenchmarkIssue(b *testing.B) {
	i := newInstance(b)
	i.idp.key, i.idp.alg = must(rsa.GenerateKey(rand.Reader, 2048)), "RS256"
	req := request(b, i.idp.token(b, object{"email": "alice@example.com", "email_verified": true}), "alice@example.com")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Issue(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
