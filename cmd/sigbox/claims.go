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
	file := f.bundle
	if file == "" {
		files := bundlesBeside(a.path)
		if len(files) == 0 {
			return e
		}
		file = files[0]
	}
	id, err := claimedIdentity(file)
	if err != nil || printable(id.Subject+id.Issuer+a.String()) != id.Subject+id.Issuer+a.String() {
		return e // nothing that is fit to be shown in a command
	}
	e.hint = file + " claims " + id.Subject + ", vouched for by " + id.Issuer + ". Anybody can write that into a bundle: " +
		"only if you know by another way that this is who should have signed, run: sigbox verify " + shellQuote(a.String())
	if f.bundle != "" {
		e.hint += " --bundle " + shellQuote(f.bundle)
	}
	e.hint += " --certificate-identity " + shellQuote(id.Subject) + " --certificate-oidc-issuer " + shellQuote(id.Issuer)
	return e
}

// claimedIdentity reads the identity in a file's first bundle, unverified.
func claimedIdentity(file string) (sigbox.Identity, error) {
	bundles, err := readBundles(file)
	if err != nil {
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
