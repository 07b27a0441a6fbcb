package ceremony

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/tsa"
	"github.com/sigbox/sigbox/wire/ceremony"
)

// chainPlan is a certificate to be made.
type chainPlan struct {
	asked ceremony.AuthorityRequest
	key   Key
	// root is the root's certificate, DER; nil for one that is made with it.
	root []byte
	// shown is what people were told that it will say.
	shown []string
}

// rootKeyOf names the key that certifies an authority's.
func rootKeyOf(a ceremony.Authority) string {
	if a == ceremony.CA {
		return CARootKey
	}
	return TSARootKey
}

// planChains says which certificates this desk would make.
func (p *Plan) planChains() error {
	for _, asked := range p.answer.Request.Authorities {
		key, ok := p.desk.key(rootKeyOf(asked.Authority))
		c := chainPlan{asked: asked, key: key}
		var err error
		if c.root, err = p.desk.certificate(rootKeyOf(asked.Authority)); err != nil {
			return err
		}
		if made := p.answer.Chain(asked.Authority); made != nil {
			if err := p.checkMade(c, made, ok); err != nil {
				return err
			}
			continue
		}
		if !ok {
			p.say("certificate    of %s: not made, this desk has no key %s", asked.Authority, rootKeyOf(asked.Authority))
			continue
		}
		leaf, root, err := p.preview(c)
		if err != nil {
			return err
		}
		if c.shown, err = p.describe(c, leaf, root); err != nil {
			return err
		}
		p.say("")
		p.Lines = append(p.Lines, c.shown...)
		p.chains = append(p.chains, c)
	}
	return nil
}

// certificate gives a root's certificate, nil if it was never needed.
func (d *Desk) certificate(name string) ([]byte, error) {
	b, err := readFile(filepath.Join(d.dir, "certs", name+".pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "certs/%s.pem is damaged: expected one certificate in PEM", name)
	}
	return block.Bytes, nil
}

// chain makes the certificates with a root's key.
func (p *Plan) chain(c chainPlan, root crypto.Signer, rootCertificate []byte) ([][]byte, error) {
	pub, err := c.asked.Public()
	if err != nil {
		return nil, err
	}
	now := func() time.Time { return p.now }
	if c.asked.Authority == ceremony.CA {
		return ca.NewChain(ca.ChainConfig{
			Root: root, RootCertificate: rootCertificate, Intermediate: pub, Number: c.asked.Number, Organization: p.desk.config.Organization, Now: now,
		})
	}
	return tsa.NewChain(tsa.ChainConfig{
		Root: root, RootCertificate: rootCertificate, Leaf: pub, Number: c.asked.Number, Organization: p.desk.config.Organization, Now: now,
	})
}

// checkMade says what a certificate says that an answer came with. If it is to be by a
// root of this desk, it has to be what the desk would have made.
func (p *Plan) checkMade(c chainPlan, made [][]byte, own bool) error {
	role := c.asked.Authority
	leaf, err := sigbox.ParseCertificate(made[0])
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "the certificate of %s that was made already: %w", role, err)
	}
	root, err := sigbox.ParseCertificate(made[1])
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "the root's certificate of %s that was made already: %w", role, err)
	}
	if string(leaf.RawSubjectPublicKeyInfo) != string(c.asked.Key) || leaf.CheckSignatureFrom(root) != nil {
		return sigbox.Errorf(sigbox.NotVerified, "the certificate of %s that was made already is not of the key that asks, or not by the root that is given with it", role).
			WithHint("begin anew with the request")
	}
	p.say("")
	p.say("certificate    of %s: made already", role)
	if !own {
		p.say("  subject      %.200q", leaf.Subject)
		p.say("  valid        %s to %s", leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339))
		p.say("  may          %s", powers(leaf))
		p.say("  by           %.200q", root.Subject)
		p.say("  whose key is %s  (no key of this desk)", ceremony.Fingerprint(root.RawSubjectPublicKeyInfo))
		return nil
	}
	return p.checkOwn(c, made, leaf)
}

// checkOwn refuses a certificate that this desk would not have made.
func (p *Plan) checkOwn(c chainPlan, made [][]byte, leaf *x509.Certificate) error {
	other := sigbox.Errorf(sigbox.NotVerified, "the certificate of %s that was made already is not one that this desk would have made", c.asked.Authority).
		WithHint("begin anew with the request, and find out where the answer has been")
	if string(c.root) != string(made[1]) {
		return other // or it would be on record
	}
	previewed, root, err := p.preview(c)
	if err != nil {
		return err
	}
	want, err := p.describe(c, previewed, root)
	if err != nil {
		return err
	}
	said, err := p.describe(c, made[0], made[1])
	if err != nil {
		return err
	}
	would, err := sigbox.ParseCertificate(previewed)
	if err != nil {
		return err
	}
	want[validLine], p.Lines = said[validLine], append(p.Lines, said...)
	if !slices.Equal(said, want) || leaf.NotBefore.After(would.NotBefore) || leaf.NotAfter.Sub(leaf.NotBefore) > would.NotAfter.Sub(would.NotBefore) {
		return other
	}
	return nil
}

// preview makes the certificates by a key that is thrown away, to see what they will say.
func (p *Plan) preview(c chainPlan) (leaf, root []byte, err error) {
	throwaway, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	chain, err := p.chain(c, throwaway, nil)
	if err != nil {
		return nil, nil, err
	}
	if c.root != nil {
		return chain[0], c.root, nil
	}
	return chain[0], chain[1], nil
}

// validLine is the one of [Plan.describe] that depends on when it was made.
const validLine = 3

// describe says what a certificate says, with its root's key as the desk knows it.
func (p *Plan) describe(c chainPlan, der, rootDER []byte) ([]string, error) {
	cert, err := sigbox.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	root, err := sigbox.ParseCertificate(rootDER)
	if err != nil {
		return nil, err
	}
	end := cert.NotAfter
	if root.NotAfter.Before(end) {
		end = root.NotAfter
	}
	what := map[ceremony.Authority]string{
		ceremony.CA: "an intermediate certificate of the certificate authority", ceremony.TSA: "a certificate of the timestamp authority",
	}[c.asked.Authority]
	return []string{
		"certificate    " + what,
		"  subject      " + cert.Subject.String(),
		"  key          " + ceremony.Fingerprint(cert.RawSubjectPublicKeyInfo),
		"  valid        " + cert.NotBefore.Format(time.RFC3339) + " to " + end.Format(time.RFC3339),
		"  may          " + powers(cert),
		"  by           " + root.Subject.String(),
		"  whose key is " + ceremony.Fingerprint(c.key.Public) + "  (" + c.key.Name + " of this desk)",
	}, nil
}

// powers says what a certificate is good for.
func powers(c *x509.Certificate) string {
	var may []string
	for _, u := range c.ExtKeyUsage {
		name, ok := map[x509.ExtKeyUsage]string{x509.ExtKeyUsageCodeSigning: "code signing", x509.ExtKeyUsageTimeStamping: "timestamping"}[u]
		if !ok {
			name = "something else"
		}
		may = append(may, name)
	}
	if len(may) == 0 {
		may = []string{"anything"}
	}
	if !c.IsCA {
		return "sign for " + strings.Join(may, ", ") + "; certify nothing"
	}
	if c.MaxPathLen == 0 && c.MaxPathLenZero {
		return "certify keys for " + strings.Join(may, ", ") + "; no further authorities"
	}
	return "certify keys for " + strings.Join(may, ", ") + ", and further authorities"
}

// makeChain makes what was shown, and looks whether it says that.
func (p *Plan) makeChain(ctx context.Context, c chainPlan) (ceremony.Chain, error) {
	signer, err := p.desk.signer(ctx, c.key)
	if err != nil {
		return ceremony.Chain{}, err
	}
	chain, err := p.chain(c, signer, c.root)
	if err != nil {
		return ceremony.Chain{}, err
	}
	said, err := p.describe(c, chain[0], chain[1])
	if err != nil {
		return ceremony.Chain{}, err
	}
	root, err := sigbox.ParseCertificate(chain[1])
	if err != nil {
		return ceremony.Chain{}, err
	}
	leaf, err := sigbox.ParseCertificate(chain[0])
	if err != nil {
		return ceremony.Chain{}, err
	}
	if !slices.Equal(said, c.shown) || string(root.RawSubjectPublicKeyInfo) != string(c.key.Public) || leaf.CheckSignatureFrom(root) != nil {
		return ceremony.Chain{}, sigbox.Errorf(sigbox.Internal, "the certificate that was made is not the one that was shown")
	}
	path := filepath.Join(p.desk.dir, "certs", c.key.Name+".pem")
	if err := p.desk.write(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[1]}), 0o644); err != nil {
		return ceremony.Chain{}, err
	}
	return ceremony.Chain{Authority: c.asked.Authority, Number: c.asked.Number, Certificates: chain}, nil
}
