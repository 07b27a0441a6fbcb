package main

import (
	"crypto/x509"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// missingIdentity makes the error for a verification that does not say who must
// have signed. It shows what the bundle claims, and the command to run if that
// is right, which only the person can know.
func missingIdentity(f verifyFlags, a artifact) error {
	e := &usageError{
		msg:  "it is not said who must have signed: --certificate-identity and --certificate-oidc-issuer (or --key) are missing",
		hint: "any signature by anybody would do without them",
	}
	from := evidence{f.evidence.bundle, f.evidence.signature, f.evidence.certificate, f.evidence.timestamp}
	if !f.evidence.given() {
		beside := evidenceBeside(a.path)
		if len(beside) == 0 {
			return e
		}
		from = beside[0]
	}
	if from.bundle == "-" {
		return e
	}
	id, err := claimedIdentity(from)
	if err != nil || printable(id.Subject+id.Issuer+a.String()) != id.Subject+id.Issuer+a.String() {
		return e // nothing that is fit to be shown in a command
	}
	e.hint = from.String() + " claims " + id.Subject + ", vouched for by " + id.Issuer + ". Anybody can write that into a bundle: " +
		"only if you know by another way that this is who should have signed, run: sigbox verify " + shellQuote(a.String())
	for _, flag := range [...]struct{ name, value string }{
		{"bundle", f.evidence.bundle}, {"signature", f.evidence.signature}, {"certificate", f.evidence.certificate}, {"rfc3161-timestamp", f.evidence.timestamp},
	} {
		if flag.value != "" {
			e.hint += " --" + flag.name + " " + shellQuote(flag.value)
		}
	}
	e.hint += " --certificate-identity " + shellQuote(id.Subject) + " --certificate-oidc-issuer " + shellQuote(id.Issuer)
	return e
}

// claimedIdentity reads the identity in the first bundle, unverified.
func claimedIdentity(from evidence) (sigbox.Identity, error) {
	bundles, err := from.read()
	if len(bundles) == 0 {
		return sigbox.Identity{}, err
	}
	if len(bundles[0].Certificates) == 0 {
		return sigbox.Identity{}, sigbox.Errorf(sigbox.NotFound, "no certificate")
	}
	leaf, err := x509.ParseCertificate(bundles[0].Certificates[0])
	if err != nil {
		return sigbox.Identity{}, err
	}
	return cert.IdentityOf(leaf)
}
